"""Margins and poles of the control loop: `.ac` of the netlist against the linearised equations.

`python -m benchmarks.margins`

Gain margin and phase margin of the worst characteristic locus, the worst difference of any
channel's, and the dominant poles of the closed loop up to twice its crossover: those of a rational
fit of the `.ac` against the eigenvalues of the behavioural model. CPU seconds of all that. Of
transistors the equations have the card of their kit.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.analysis.loop_gain import LoopGain, loop_gain
from analogdfc.analysis.settling import OperatingPoint
from analogdfc.analysis.settling.margins import Margins
from analogdfc.analysis.settling.rational import Complex
from analogdfc.cards.technology import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.errors import UserError
from analogdfc.kits import KITS, Kit, get_kit
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.loop import measure_loop
from analogdfc.spice.netlist import Fidelity, Netlist
from benchmarks._measure import Case, case

NETWORKS = ("3-4-2", "4-6-5-4-3")
CHIPS = (None, 0)
BANDWIDTHS = (100.0, 10.0)
"""Gain-bandwidths in 1 / tau_v: that of the card, and one that costs the loop phase."""

GAIN_BAR = POLE_BAR = 0.03
PHASE_BAR = 2.0
"""Degrees."""

UP_TO = 2.0
"""Poles that are compared, in crossovers of the gain."""


class Row(NamedTuple):
    """One chip.

    Attributes:
        circuit: margins of the worst locus by `.ac`.
        model: by the linearised equations.
        gain: worst relative difference of a gain margin, of loci and channels.
        phase: worst difference of a phase margin, in degrees.
        poles: worst relative distance of a pole of the circuit from an eigenvalue.
        number: poles that were compared.
        seconds: CPU time.
    """

    circuit: Margins
    model: Margins
    gain: float
    phase: float
    poles: float
    number: int
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the bars are met; what isn't a number is not within them."""
        found = ((self.gain, GAIN_BAR), (self.phase, PHASE_BAR), (self.poles, POLE_BAR))
        return self.number > 0 and all(value <= bar for value, bar in found)


def measure(here: Case, fidelity: Fidelity, seed: int | None, kit: Kit | None = None) -> Row:
    """Compare one chip on one sample.

    Args:
        here: the design and its sample.
        fidelity: level of the cells.
        seed: of the chip.
        kit: process of cells in transistors.
    """
    start = _cpu()
    netlist = Netlist.of(Chip.of(here.design, seed), fidelity, kit=kit)
    chip = netlist.chip
    circuit = measure_loop(netlist, here.x[0], here.step[0], BatchProcess()).gain
    point = OperatingPoint.of(StaticChip.of(chip).solve(here.x, here.step))
    model = loop_gain(chip, point, circuit.hertz)
    pairs = [*zip(_every(circuit), _every(model), strict=True)]
    poles = [*_poles(circuit, Behavioural([chip]).modes(here.x, here.step)[0][0], here)]
    return Row(
        circuit.margins,
        model.margins,
        max(_apart(a.gain, b.gain) for a, b in pairs),
        max(abs(a.degrees - b.degrees) for a, b in pairs),
        max(poles, default=math.nan),
        len(poles),
        _cpu() - start,
    )


def _every(gain: LoopGain) -> tuple[Margins, ...]:
    return gain.margins, *gain.channel_margins


def _apart(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a / b - 1)


def _poles(circuit: LoopGain, modes: Complex, here: Case) -> Iterator[float]:
    """Relative distance of every slow pole from the nearest mode."""
    modes = modes / here.design.seconds
    crossover = 2 * math.pi * circuit.margins.phase_at
    for pole in circuit.poles[np.abs(circuit.poles) < UP_TO * crossover]:
        yield float(np.abs(modes - pole).min() / abs(pole))


def _cpu() -> float:
    every = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in every)


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.margins", description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS], help="sizes as in 3-4-2")
    networks = parser.parse_args().networks
    torch.set_num_threads(1)
    table = Table(title="Margins and poles: .ac against the equations", title_justify="left")
    for name in ("network", "cells", "chip", "gain margin\n.ac", "equations", "off, %",
                 "phase margin\n.ac, deg", "equations\ndeg", "off, deg", "poles", "off, %",
                 "CPU s", ""):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    missed, notes = False, []
    todo = [*_cases(networks)]
    for sizes, name, seed in tqdm(todo, file=sys.stderr, leave=False):
        here = case([int(n) for n in sizes.split("-")], 0, 1)
        try:
            row = _measured(here, name, seed)
        except UserError as error:
            notes.append(f"{name}: {error}")
            continue
        missed |= not row.met
        table.add_row(
            sizes, name, "nominal" if seed is None else str(seed),
            f"{row.circuit.gain:.3f}", f"{row.model.gain:.3f}", f"{100 * row.gain:.3f}",
            f"{row.circuit.degrees:.3f}", f"{row.model.degrees:.3f}", f"{row.phase:.4f}",
            str(row.number), f"{100 * row.poles:.4f}", f"{row.seconds:.1f}",
            "met" if row.met else "[bold red]MISSED[/]",
        )  # fmt: skip
    console = Console(width=150)
    console.print(table)
    console.print(
        f"bars: gain {100 * GAIN_BAR:g} %, phase {PHASE_BAR:g} degrees, poles {100 * POLE_BAR:g} %"
    )
    for note in notes:
        console.print(note)
    return int(missed)


def _cases(networks: Sequence[str]) -> Iterator[tuple[str, str, int | None]]:
    """Network, cells and chip of every row."""
    for sizes in networks:
        yield sizes, "ideal", None
        for product in BANDWIDTHS:
            for seed in CHIPS:
                yield sizes, f"macro, {product:g} / tau_v", seed
        for kit in KITS:
            yield sizes, f"transistor, {kit}", None


def _measured(here: Case, name: str, seed: int | None) -> Row:
    """The row of cells by their name in the table."""
    level, _, what = name.partition(", ")
    if level == "transistor":
        return measure(here.on(Card.load(what)), "transistor", seed, get_kit(what))
    if level == "macro":
        return measure(here.at_bandwidth(float(what.partition(" ")[0])), "macro", seed)
    return measure(here, "ideal", seed)


if __name__ == "__main__":
    sys.exit(main())
