"""Does the behavioural model with the card of characterised cells predict their transistors?

Run with `python -m benchmarks.transistors`: chips of 3-4-2 in every kit, and one of 16-10-10 on
gf180, which is trained on handwritten digits. `--kit generic` needs no kit; `--sizes 16-10-10` has
all its chips, some minutes each. Op-amp, tanh cell and switch are characterised first, as
`analogdfc characterise` does; `--shipped` takes the card that comes with the package instead.
`--corner ss --temperature 85` does all of it there.

Angles are between updates: of the ideal equations, of the behavioural model with the card, and of
the circuit in transistors. v: rms error of the potentials' way from the free state, over
that way, of the worst layer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click
import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.cards.technology import Card
from analogdfc.cases import example, stimuli_for
from analogdfc.characterise import Conditions, characterise, characterised
from analogdfc.circuit.design import Design
from analogdfc.comparison import Comparison
from analogdfc.errors import UserError
from analogdfc.kits import CORNERS, KITS, Corner, get_kit
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Cells, Condition, Ideal, Model, Study
from benchmarks._measure import worst_angle

ANGLE_BAR = 0.5
"""Degrees of the update of the worst layer."""

SIGNAL_BAR = 0.01
CHIPS = (None, 0, 1, 2)
TRAINED = "16-10-10", "gf180", (0,)
"""The network that is trained, on which kit, and which chips of it."""


class Row(NamedTuple):
    """One chip of one kit.

    Attributes:
        kit: name of the kit.
        sizes: neurons of each layer.
        chip: seed of the chip; None for nominal components.
        to_model: angle from the ideal equations to the behavioural model, in degrees.
        to_circuit: from them to the circuit.
        between: from the behavioural model to the circuit, worst layer.
        potentials: error of the model's potentials, a fraction.
        seconds: that the circuit took.
    """

    kit: str
    sizes: str
    chip: int | None
    to_model: float
    to_circuit: float
    between: float
    potentials: float
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the model is within the bars; what isn't a number is not."""
        values = ((self.between, ANGLE_BAR), (self.potentials, SIGNAL_BAR))
        return all(math.isfinite(v) and v <= bar for v, bar in values)


def card_of(kit: str, case: Condition, backend: str) -> Card:
    """The card of a kit's cells, characterised where they work.

    Args:
        kit: name of the kit.
        case: corner and temperature.
        backend: how ngspice is run.

    Raises:
        UserError: the kit isn't installed.
    """
    base = Card.load(kit)
    conditions = Conditions(base, get_kit(kit, case.corner), celsius=case.celsius)
    simulator = get_simulator(backend)
    sheets = [characterise(cell, conditions, simulator) for cell in ("opamp", "tanh", "switch")]
    return Card.parse(characterised(base, sheets))


def rows(
    kit: str, card: Card, case: Condition, sizes: str, chips: Sequence[int | None], backend: str
) -> Iterator[Row]:
    """Chips of a kit on one sample.

    Args:
        kit: name of the kit.
        card: of its cells.
        case: where they work.
        sizes: neurons of each layer.
        chips: their seeds; None for nominal components.
        backend: how ngspice is run.

    Raises:
        UserError: the kit isn't installed.
    """
    model, _ = example(tuple(map(int, sizes.split("-"))), 0, lambda *_: None)
    design = Design.of(
        model.network, model.feedback, case.placed(card),
        controller=model.controller, tau_v=model.tau_v,
    )  # fmt: skip
    data = stimuli_for(model.network, 1, 0)
    study, process = Study(design, data.x, data.step), get_kit(kit, case.corner)
    ideal = Ideal().run(study)
    for chip in chips:
        behavioural = Model(chip).run(study)
        start = time.perf_counter()
        circuit = Cells(
            "transistor", get_simulator(backend), seed=chip, time_limit=3600.0, kit=process,
            celsius=case.celsius,
        ).run(study)  # fmt: skip
        seconds = time.perf_counter() - start
        found = study.parity(circuit, behavioural)
        to_model, to_circuit = (
            whole(study.compare("ideal", "other", "deviation", ideal, run))
            for run in (behavioural, circuit)
        )
        potentials = max(
            error for name, error in found.signals.items()
            if name.startswith("v") and name.endswith("dev")
        )  # fmt: skip
        yield Row(kit, sizes, chip, to_model, to_circuit, worst_angle(found), potentials, seconds)


def whole(comparison: Comparison) -> float:
    """Angle of the update of all layers together, in degrees."""
    return comparison.updates["all"].angle


@click.command()
@click.option("--kit", "kits", multiple=True, type=click.Choice(list(KITS)), help="Only this kit.")
@click.option("--sizes", help="Neurons of each layer, of all chips of this network alone.")
@click.option("--backend", default="batch", show_default=True, help="How ngspice is run.")
@click.option("--shipped", is_flag=True, help="With the cards that come with the package.")
@click.option("--corner", type=click.Choice(CORNERS), default="typical", show_default=True)
@click.option("--temperature", default=27.0, show_default=True, help="In degrees Celsius.")
def main(
    kits: tuple[str, ...],
    sizes: str | None,
    backend: str,
    shipped: bool,
    corner: Corner,
    temperature: float,
) -> None:
    """The behavioural model against transistors."""
    case = Condition(corner, temperature)
    torch.set_num_threads(1)
    plan: list[tuple[str, str, Sequence[int | None]]]
    plan = [(sizes or "3-4-2", kit, CHIPS) for kit in kits or KITS]
    if sizes is None and TRAINED[1] in (kits or KITS):
        plan.append(TRAINED)
    table = Table(title=f"one sample, {case}", title_justify="left")
    heads = "kit", "network", "chip", "to model", "to circuit", "between", "v, %", "s", ""
    for k, name in enumerate(heads):
        table.add_column(name, justify="right" if 2 < k < 8 else "left")
    missed, notes = False, []
    cards: dict[str, Card] = {}
    for network, kit, chips in tqdm(plan, desc="kits"):
        try:
            if kit not in cards:
                cards[kit] = Card.load(kit) if shipped else card_of(kit, case, backend)
            for row in rows(kit, cards[kit], case, network, chips, backend):
                missed |= not row.met
                angles = (f"{a:.3f}" for a in (row.to_model, row.to_circuit, row.between))
                table.add_row(
                    kit,
                    network,
                    "nominal" if row.chip is None else str(row.chip),
                    *angles,
                    f"{100 * row.potentials:.3f}",
                    f"{row.seconds:.1f}",
                    "met" if row.met else "MISSED",
                )
        except UserError as error:
            notes.append(f"{kit}: {error}")
    console = Console(width=100)
    console.print(table)
    console.print(f"bars: between {ANGLE_BAR:g} degrees, v {100 * SIGNAL_BAR:g} %")
    for note in notes:
        console.print(note)
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
