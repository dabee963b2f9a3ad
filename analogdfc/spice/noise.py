"""Noise of a netlist: the sources of a card in its cells, and `.noise` about the steady state."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.thermal import BOLTZMANN, ROOM
from analogdfc.errors import UserError
from analogdfc.spice.held import HeldBench, cell_text, subcircuit
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.writer import number

_CURRENT = 1e-6
"""Amperes through the resistor that makes an amplifier's 1 / f noise."""

_OHMS = 1e3
"""The resistor that makes a tanh cell's noise."""

_INPUT = "Vnone none 0 0 ac 1\nRnone none 0 1 noisy=0\n"
"""The input that the analysis asks for; nothing is referred to it."""

_DEVICE = re.compile(r"^(R[pn] \S+ \S+) (\{1 / g[pn]\})$", re.MULTILINE)


def with_noise(netlist: Netlist) -> Netlist:
    """The circuit with the sources of noise that its card has, beside its resistors' own.

    Transistors bring their noise themselves, so that at level 'transistor' only the crossbars'
    devices get any.

    Args:
        netlist: the circuit.
    """
    card, cells = netlist.chip.design.card, netlist.cells
    thermal = 4 * BOLTZMANN * ROOM
    values: dict[str, float] = {}
    if netlist.fidelity != "transistor":
        if (e_n := card.amplifier.noise) is not None:
            ohms = e_n**2 / thermal
            corner = card.amplifier.noise_corner or 0.0
            values |= {"r_noise": ohms, "k_noise": e_n**2 * corner / (_CURRENT * ohms) ** 2}
            cells = around(cells, "opamp", "opamp_quiet", "opamp_noisy")
        if (i_n := card.tanh.noise) is not None:
            values["g_noise"] = i_n / (thermal * _OHMS) ** 0.5
            cells = around(cells, "tanh_cell", "tanh_quiet", "tanh_noisy")
    if card.device.flicker is not None:
        values["k_device"] = card.device.flicker
        cells, found = _DEVICE.subn(r"\1 noise_of_device r=\2", cells)
        if not found:
            raise UserError("cells: no devices 'Rp a b {1 / gp}' and 'Rn a b {1 / gn}'")
        cells += ".model noise_of_device r(kf={k_device} af=2)\n"
    lines = [f".param {name}={number(value)}\n" for name, value in values.items()]
    return replace(netlist, cells="".join(lines) + cells)


def around(cells: str, cell: str, inner: str, outer: str) -> str:
    """Cells in which one has been renamed and another, which contains it, has its name.

    Args:
        cells: text of the cells.
        cell: name of the cell.
        inner: its new name.
        outer: file of the library with the other.
    """
    found = subcircuit(cells, cell)
    text = re.sub(rf"\b{cell}\b(?=( |$))", inner, found[0].splitlines()[0])
    body = found[0].splitlines()[1:-1]
    quiet = "\n".join([text, *body, f".ends {inner}"])
    return f"{cells[: found.start()]}{quiet}{cells[found.end() :]}\n{cell_text(outer)}"


@dataclass(frozen=True)
class NoiseSpectrum:
    """What `.noise` gave.

    Attributes:
        frequencies: in hertz, (points,).
        density: one-sided, at each node, in V^2/Hz, (points, nodes).
        made_by: program, version and solver.
    """

    frequencies: NDArray[np.float64]
    density: NDArray[np.float64]
    made_by: str


def noise_spectrum(
    netlist: Netlist,
    x: Tensor,
    step: Tensor,
    nodes: list[str],
    *,
    decades: tuple[float, float],
    points: int,
    simulator: Simulator,
    time_limit: float = 600.0,
) -> NoiseSpectrum:
    """Noise at nodes of a circuit at its controlled steady state, its holds frozen.

    Args:
        netlist: the circuit; the noise of its card is added to its cells.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        nodes: names of nodes, at least one.
        decades: lowest and highest frequency, in hertz.
        points: frequencies in each decade.
        simulator: that analyses noise.
        time_limit: seconds that the analysis of one node may take.

    Raises:
        UserError: a simulator without such an analysis, or a netlist that is refused.
        ConvergenceError: no steady state.
    """
    bench = HeldBench(netlist.chip, x, step)
    noisy = with_noise(bench.netlist(netlist))
    low, high = (number(f) for f in decades)
    found = []
    for node in nodes:
        analysis = f"{_INPUT}.noise v({node}) Vnone dec {points} {low} {high}"
        deck = noisy.deck(bench.text(analysis))
        found.append(
            simulator.analyse(
                deck,
                analysis="noise",
                save=["onoise_spectrum"],
                time_limit=time_limit,
                modules=netlist.modules,
            )
        )
    density = np.stack([sweep.signals["onoise_spectrum"] for sweep in found], axis=1) ** 2
    return NoiseSpectrum(found[0].points, density, found[0].made_by)
