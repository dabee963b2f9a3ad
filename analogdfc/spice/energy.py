"""Energy of a settle as ngspice sees it: work of supplies, sources and every device of a chip."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.energy import items
from analogdfc.analysis.energy.items import Energy
from analogdfc.analysis.energy.meter import Metered
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Crossbar
from analogdfc.errors import UserError
from analogdfc.samples import check_samples
from analogdfc.spice.cells import COMMANDS, METERED, UPDATE_CELLS, Meter
from analogdfc.spice.flat import Device, devices
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulation import Simulation, simulate_all
from analogdfc.spice.simulator import Simulator, Waveforms
from analogdfc.spice.testbench import Testbench
from analogdfc.updating.bench import commands

Array = NDArray[np.float64]


class _Probe(NamedTuple):
    """A device whose work counts: the integral of a power, or the change of a stored energy."""

    component: str
    part: str
    signals: tuple[str, ...]
    value: Callable[..., Array]
    stored: bool = False


def measure_circuit(
    chip: Chip,
    x: Tensor,
    step: Tensor,
    simulator: Simulator,
    *,
    duration: float,
    longest: float | None = None,
    time_limit: float = 600.0,
    jobs: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Metered:
    """Energy of a chip from the release of the controller on, cells at level macro.

    A chip with an update path is followed until the product is formed, and every part of it
    supplied until then; converters and digital products are no cells, and not in the energy.
    Every number comes from currents and powers that ngspice returns; only the supply voltages are
    taken from the card.

    Args:
        chip: the chip.
        x: inputs, (batch, n_0), dimensionless; one simulation a sample.
        step: steps of the output target, (batch, n_L).
        simulator: how ngspice is run.
        duration: length of the controlled phase, in units of the controller's time.
        longest: longest time step, in the same unit; a tenth of tau_v by default.
        time_limit: seconds that one simulation may take.
        jobs: simulations at a time.
        progress: called after each sample with the number finished.

    Raises:
        UserError: a duration that isn't positive and finite, shapes that don't fit, no samples, or
            ngspice is missing or refuses the netlist.
        ConvergenceError: a run that doesn't converge.
    """
    design = chip.design
    if not 0 < duration < math.inf:
        raise UserError(f"duration {duration}: it must be > 0 and finite")
    check_samples(design.sizes, x, step, what="target steps")
    netlist = Netlist.of(chip, "macro")
    longest = longest or design.tau_v / 10
    benches = [
        Testbench(netlist.chip, a, b, duration=duration, max_step=longest)
        for a, b in zip(x.double().cpu(), step.double().cpu(), strict=True)
    ]
    probes, sources = _probes(chip, netlist.deck(benches[0].text()))
    needed = tuple(dict.fromkeys(s for p in (*probes, *sources) for s in p.signals))
    simulations = [Simulation(netlist, b, needed, simulator, time_limit) for b in benches]
    found = [
        (_work(probes, waves, benches[0]), _work(sources, waves, benches[0]))
        for waves in simulate_all(simulations, jobs, progress)
    ]
    keys = dict.fromkeys((p.component, p.part) for p in probes)
    table = {
        key: torch.tensor([sum(j for p, j in zip(probes, w, strict=True) if p[:2] == key)
                           for w, _ in found], dtype=torch.float64)
        for key in keys
    }  # fmt: skip
    drawn = torch.tensor([sum(given) for _, given in found], dtype=torch.float64)
    return Metered(Energy(table), drawn)


def _work(probes: list[_Probe], waves: Waveforms, bench: Testbench) -> list[float]:
    after = int(np.searchsorted(waves.time, bench.release * (1 - 1e-9)))
    time, out = waves.time[after:], []
    for probe in probes:
        value = probe.value(*(waves.signals[s][after:] for s in probe.signals))
        out.append(value[-1] - value[0] if probe.stored else np.trapezoid(value, time))
    return [float(joules) for joules in out]


def _probes(chip: Chip, deck: str) -> tuple[list[_Probe], list[_Probe]]:
    """What the devices of a chip take, and what supplies and sources give."""
    supply, parts, path = chip.design.card.amplifier.supply, _parts(chip), chip.circuit.update
    silent = {f"v{node}" for node in (*COMMANDS, *([] if path is None else commands(path)))}
    crossbars = {f"x{c.name.lower()}": c for c in chip.circuit.crossbars}
    probes: list[_Probe] = []
    sources: list[_Probe] = []
    for device in devices(deck):
        if not device.path:
            if device.leaf[0] == "v" and device.leaf not in silent:
                sources.append(_source(device))
            continue
        crossbar = crossbars.get(device.path[0])
        if device.cells[-1] in METERED:
            meter = METERED[device.cells[-1]].get(device.leaf)
        else:
            meter = _passive(device, crossbar is not None)
        if meter is Meter.SOURCE:
            sources.append(_source(device))
        elif crossbar is not None:
            probes.append(_of_crossbar(device, crossbar, meter))
        elif meter is not None:
            probes.append(_of_cell(device, parts[device.path[0]], meter, supply))
        elif device.cells[-1] not in METERED and device.leaf[0] == "r":
            probes.append(_dissipated(items.RESISTORS, parts[device.path[0]], device))
    return probes, sources


def _passive(device: Device, wired: bool) -> Meter | None:
    """The meter of a device between the cells, or between the pairs of a crossbar."""
    if device.leaf[0] == "c":
        return Meter.STORED
    return Meter.WIRE if wired and device.leaf[0] == "r" else None


def _parts(chip: Chip) -> dict[str, str]:
    """Where the instances of a netlist are."""
    return {
        f"x{kind.name.format(k=k)}": kind.part
        for kind in chip.circuit.instances
        for k in range(1, kind.size + 1)
    }


def _volts(device: Device) -> tuple[list[str], Callable[..., Array]]:
    """Signals that make up the voltage between a device's nodes, and how."""
    nodes = [n for n in device.nodes if n != "0"]
    if len(nodes) == 2:
        return nodes, _difference
    return nodes, _as_it_is if device.nodes[1] == "0" else _negative


def _difference(a: Array, b: Array) -> Array:
    return a - b


def _as_it_is(a: Array) -> Array:
    return a


def _negative(a: Array) -> Array:
    return -a


def _given(volts: Callable[..., Array], i: Array, *v: Array) -> Array:
    return -i * volts(*v)


def _charged(volts: Callable[..., Array], farads: Array, *v: Array) -> Array:
    return farads / 2 * volts(*v) ** 2


def _lost(supply: float, i: Array, v: Array) -> Array:
    return supply * np.abs(i) - v * i


def _taken(supply: float, i: Array, v: Array) -> Array:
    return i * (v + supply)


def _from_both(supply: float, i: Array) -> Array:
    return 2 * supply * i


def _from_one(supply: float, i: Array) -> Array:
    return supply * i


def _source(device: Device) -> _Probe:
    nodes, volts = _volts(device)
    # ngspice counts the current of a source from its first node through it to the second.
    return _Probe("", "", (f"i({device.name})", *nodes), partial(_given, volts))


def _dissipated(component: str, part: str, device: Device) -> _Probe:
    return _Probe(component, part, (f"@{device.name}[p]",), _as_it_is)


def _stored(component: str, part: str, device: Device) -> _Probe:
    # From the voltages: the integral of a capacitor's power loses the small difference.
    nodes, volts = _volts(device)
    signals = (f"@{device.name}[capacitance]", *nodes)
    return _Probe(component, part, signals, partial(_charged, volts), stored=True)


def _of_crossbar(device: Device, crossbar: Crossbar, meter: Meter | None) -> _Probe:
    if meter is Meter.STORED:
        return _stored(items.LINES, crossbar.part, device)
    if meter is Meter.DEVICE:
        return _dissipated(crossbar.kind.value, crossbar.part, device)
    return _dissipated(items.WIRES, crossbar.part, device)


def _of_cell(device: Device, part: str, meter: Meter, supply: float) -> _Probe:
    """What a device of a cell adds to its supplies and its output."""
    if meter is Meter.STORED:
        return _stored(items.CAPACITORS, part, device)
    if meter is Meter.LOAD:
        return _dissipated(items.RESISTORS, part, device)
    if meter is Meter.OUTPUT:
        signals = f"i({device.name})", device.nodes[1]
        return _Probe(items.OUTPUT_STAGES, part, signals, partial(_lost, supply))
    if meter is Meter.SINK:
        signals = f"@{device.name}[i]", device.nodes[0]
        return _Probe(items.TANH, part, signals, partial(_taken, supply))
    plain = items.QUIESCENT if meter is Meter.QUIESCENT else items.TANH
    component = UPDATE_CELLS.get(device.cells[-1], plain)
    taken = _from_one if meter is Meter.RAIL else _from_both
    quantity = "current" if device.leaf[0] == "i" else "i"
    return _Probe(component, part, (f"@{device.name}[{quantity}]",), partial(taken, supply))
