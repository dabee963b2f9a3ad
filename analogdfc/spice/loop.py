"""The gain of the controller's loop in a circuit, by small-signal analyses at its rest.

Between the cell that makes -u and what it drives, every channel has a probe: a voltage source of 0
volts, which leaves the operating point as it is, and a current source of 0 amperes. Each in turn
gives the signal (Middlebrook 1975). With the driving side a and the driven side b of the probes,
admittances Y_aa .. Y_bb between them, the gain is

    L = (Y_aa + Y_bb)^-1 (Y_ab + Y_ba),

whatever the impedances of either side; of one channel that of Tian et al. (2001).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.loop_gain import Band, LoopGain
from analogdfc.analysis.settling.rational import Complex
from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Task, Threads, results
from analogdfc.spice.held import HeldBench
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.process import stop_all
from analogdfc.spice.rest import at_rest
from analogdfc.spice.simulator import Simulator, Sweep
from analogdfc.spice.writer import circuit_text, number

_DRIVER = "ub{k}"
"""Nodes of the probes' driving sides; those of the driven sides keep their names."""


class MeasuredLoop(NamedTuple):
    """The loop gain of one sample in a simulator.

    Attributes:
        gain: along the frequencies.
        made_by: program, version and solver.
    """

    gain: LoopGain
    made_by: str


class Injections(NamedTuple):
    """What the probes saw, (points, n, k): of every channel for each of k injections.

    Attributes:
        behind: voltages of the driving sides with a voltage of 1 in series of channel k.
        current: currents into the driving sides then.
        shunt: voltages with a current of 1 into channel k.
        share: currents into the driving sides then.
    """

    behind: Complex
    current: Complex
    shunt: Complex
    share: Complex

    def gain(self) -> Complex:
        """The loop gain, (points, n, n)."""
        n = self.behind.shape[-1]
        share = np.broadcast_to(np.eye(n, dtype=complex), self.share.shape)
        if self.shunt.any():  # else the driving side is a voltage source and takes all
            turned = np.swapaxes(self.shunt @ self.share, 1, 2)
            share = np.linalg.solve(np.swapaxes(self.shunt, 1, 2), turned)
            share = np.swapaxes(share, 1, 2)
        whole = share + (2 * share - np.eye(n)) @ self.behind - 2 * self.shunt @ self.current
        return np.asarray(np.linalg.inv(whole) - np.eye(n))


@dataclass(frozen=True)
class _Injection(Task[Sweep]):
    """A small-signal analysis in which one source gives the signal.

    Attributes:
        netlist: the circuit with its loop cut.
        bench: its testbench at rest.
        band: the frequencies.
        source: name of the source.
        simulator: what simulates it.
        time_limit: seconds that it may take.
    """

    netlist: Netlist
    bench: HeldBench
    band: Band
    source: str
    simulator: Simulator
    time_limit: float

    @property
    def work(self) -> int:
        """One analysis."""
        return 1

    def run(self, progress: Progress) -> Sweep:
        """Analyse; see `Task.run`."""
        lines, signals = [], []
        for k, node in enumerate(_nodes(self.bench.chip), start=1):
            driver = _DRIVER.format(k=k)
            for name, ends in ((f"Vprobe{k}", f"{node} {driver}"), (f"Iprobe{k}", f"0 {node}")):
                lines.append(f"{name} {ends} 0 ac {int(name == self.source)}")
            signals += [node, driver, f"i(vprobe{k})"]
        ends = f"{number(self.band.low)} {number(self.band.high)}"
        lines.append(f".ac dec {self.band.per_decade} {ends}")
        deck = self.netlist.deck(self.bench.text("\n".join(lines)))
        found = self.simulator.analyse(
            deck, analysis="ac", save=signals, time_limit=self.time_limit,
            modules=self.netlist.modules,
        )  # fmt: skip
        progress(1)
        return found


def measure_loop(
    netlist: Netlist,
    x: Tensor,
    step: Tensor,
    simulator: Simulator,
    *,
    band: Band | None = None,
    time_limit: float = 600.0,
    jobs: int = 1,
    progress: Callable[[int], object] = lambda units: None,
) -> MeasuredLoop:
    """The loop gain of a circuit at the rest of one sample.

    Args:
        netlist: the circuit.
        x: the sample's input, (n_0,), dimensionless.
        step: its target step, (n_L,).
        simulator: what simulates it; it needs small-signal analyses.
        band: the frequencies; by default those of `Band.of`.
        time_limit: seconds that one simulation may take.
        jobs: simulations at a time.
        progress: called with the analyses done, two a channel.

    Raises:
        UserError: a simulator without such analyses, or what it refuses.
        ConvergenceError: no rest, or another one than that of the static model.
    """
    if "ac" not in simulator.analyses:
        raise UserError(
            f"{simulator.program} has no small-signal analysis here; take ngspice for a loop gain"
        )
    bench = at_rest(netlist, x, step, simulator, time_limit=time_limit)
    cut, chip = _cut(bench.netlist(netlist)), netlist.chip
    band = band or Band.of(chip)
    nodes = _nodes(chip)
    sources = [f"{kind}probe{k}" for kind in "VI" for k in range(1, len(nodes) + 1)]
    runs = [_Injection(cut, bench, band, name, simulator, time_limit) for name in sources]
    with Threads(jobs, stop_all) as pool:
        found = list(results(runs, pool, progress))
    gain = _injections(found, nodes).gain()
    made_by = "; ".join(dict.fromkeys(sweep.made_by for sweep in found))
    return MeasuredLoop(LoopGain(found[0].points, gain), made_by)


def _injections(found: list[Sweep], nodes: list[str]) -> Injections:
    n = len(nodes)
    drivers = [_DRIVER.format(k=k) for k in range(1, n + 1)]
    currents = [f"i(vprobe{k})" for k in range(1, n + 1)]

    def read(sweeps: list[Sweep], names: list[str]) -> Complex:
        return np.stack([_columns(sweep.signals, names) for sweep in sweeps], axis=-1)

    series, shunt = found[:n], found[n:]
    return Injections(
        read(series, drivers), read(series, currents), read(shunt, nodes), read(shunt, currents)
    )


def _columns(signals: Mapping[str, NDArray[Any]], names: list[str]) -> Complex:
    return np.stack([signals[name] for name in names], axis=-1)


def _nodes(chip: Chip) -> list[str]:
    """Nodes of -u."""
    return chip.circuit.names(chip.circuit.control.u_minus.port)


def _cut(netlist: Netlist) -> Netlist:
    """The circuit with other nodes at the cells that make -u: those that the reset holds."""
    chip = netlist.chip
    circuit, port = chip.circuit, chip.circuit.control.u_minus.port
    instances = tuple(
        replace(kind, pins=tuple(_DRIVER if pin == port else pin for pin in kind.pins))
        if "rst" in kind.pins
        else kind
        for kind in circuit.instances
    )
    opened = replace(chip, circuit=replace(circuit, instances=instances))
    return replace(netlist, circuit=circuit_text(opened, netlist.fidelity))
