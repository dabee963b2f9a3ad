"""What the paper's MNIST training costs on digital machines and on a chip, with all bands.

`python -m benchmarks.digital`. Digital energies are those of published constants and, on a GPU
with NVML, measured ones; that of the chip is in closed form.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.cards.technology import Card
from analogdfc.cases import example, stimuli_for
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip
from analogdfc.cost.estimate import (
    CLOSED_FORM,
    Estimate,
    energy_band,
    estimate,
    update_angle,
)
from analogdfc.digital.card import Band
from analogdfc.digital.measured import measured, why_not_measured
from analogdfc.digital.training import (
    COUNTS,
    DIGITAL_COLUMNS,
    Row,
    band_text,
    baseline,
    digital_cells,
    engineering,
    sources,
    spread,
)
from analogdfc.errors import UserError
from analogdfc.presets import load_preset

PRESET = "mnist"
SAMPLES = 55_000
"""Training images of the published experiment, which keeps 5000 of 60000 for validation."""

BATCH = 32
OPTIMIZER = "adam"

CARD = "discrete_100mhz"
SEED = 0
"""Of the chip's network, samples and components."""

SUSPECTS = ("wire resistance", "amplifier offset", "finite levels", "device mismatch")
"""Imperfections whose own share of the chip's angle is told."""


TILES = (128, 64, 32)
"""Rows and columns of the largest array, for what its wires alone do."""


class Chips(NamedTuple):
    """What a sample costs on the chip, and what the update is worth.

    Attributes:
        found: the estimate.
        alone: angle of the update on a chip that has one of `SUSPECTS` only, in degrees.
        tiled: that of the wires alone, by rows and columns of the largest array.
    """

    found: Estimate
    alone: dict[str, float]
    tiled: dict[int, float]


def digital_rows(rules: tuple[str, ...] = tuple(COUNTS), batch: int = BATCH) -> list[Row]:
    """The paper's network, number of steps, epochs and optimiser on every machine.

    Args:
        rules: rules, of `COUNTS`; the order of the rows.
        batch: samples of a minibatch; the published experiment has 128.
    """
    experiment = load_preset(PRESET).experiment("dfc", "learned")
    return baseline(
        list(experiment.sizes),
        rules,
        SAMPLES,
        experiment.plan.epochs,
        batch=batch,
        steps=int(experiment.options["steps"]),
        optimizer=OPTIMIZER,
    )


def measured_rows() -> list[Row]:
    """The same training, measured on the GPU at hand; some two minutes."""
    experiment = load_preset(PRESET).experiment("dfc", "learned")
    return list(
        measured(
            list(experiment.sizes),
            batch=BATCH,
            samples=SAMPLES,
            epochs=experiment.plan.epochs,
            steps=int(experiment.options["steps"]),
            optimizer=OPTIMIZER,
        )
    )


def on_the_chip(sizes: Sequence[int] | None = None, samples: int = 2) -> Chips:
    """A random network of the paper's sizes on a chip, in closed form.

    Args:
        sizes: neurons of layers 0..L; by default the paper's.
        samples: random inputs that results are means over.
    """
    if sizes is None:
        sizes = load_preset(PRESET).experiment("dfc", "learned").sizes
    model, _ = example(sizes, SEED)
    data = stimuli_for(model.network, samples, SEED)
    design = Design.of(
        model.network,
        model.feedback,
        Card.load(CARD),
        controller=model.controller,
        tau_v=model.tau_v,
        scaling=True,
    )
    found = estimate(design, SEED, data.x, data.step, method=CLOSED_FORM, limits=False)

    def turned(card: Card) -> float:
        """Angle of the update on a card, in degrees."""
        one = design.on(card)
        static = StaticChip.of(Chip.of(one, SEED))
        return update_angle(one, static, static.solve(data.x, data.step), data.step)

    def only(name: str) -> Card:
        card = design.card
        return card.without(*(other for other in card.imperfections if other != name))

    wires = only("wire resistance")
    return Chips(
        found,
        {name: turned(only(name)) for name in SUSPECTS},
        {n: turned(wires.replace("wire", rows=n, columns=n)) for n in TILES},
    )


def chip_band(found: Estimate) -> Band:
    """Energy of a sample with its spread, the card's own figure included.

    Raises:
        UserError: a card from which no spread follows.
    """
    band = energy_band(found)
    if band is None:
        raise UserError(f"{CARD}: the amplifiers lack what a spread of their current follows from")
    low, high = min(band.low, found.joules), max(band.high, found.joules)
    own = f"the card's supply current: {engineering(found.joules, 'J')}"
    return Band(low, high, f"{band.reason}; {own}")


def table_of(rows: Sequence[Row], found: Estimate) -> Table:
    """Digital machines by rule, then the chip."""
    seen = rows[0].samples
    sizes = "-".join(map(str, found.design.sizes))
    work = f"{SAMPLES} samples, {seen // SAMPLES} epochs, batch {BATCH}, {OPTIMIZER}"
    table = Table(title=f"{sizes}, {work}")
    for k, name in enumerate(DIGITAL_COLUMNS):
        table.add_column(name, justify="left" if k in (0, 2) else "right", no_wrap=True)
    for rule in COUNTS:
        table.add_section()
        cells = digital_cells([row for row in rows if row.rule == rule])
        for k, line in enumerate(cells):
            table.add_row(*(line if k == 0 else ("", "", *line[2:])))
    table.add_section()
    band = chip_band(found)
    whole = band.scaled(seen)
    machine = f"analog chip, {CARD}"
    table.add_row("dfc", "", machine, "", band_text(band), band_text(whole), style="bold")
    return table


def caveats(chips: Chips) -> list[str]:
    """What has to be known beside the chip's energy, from the figures themselves."""
    found, design = chips.found, chips.found.design
    lines = [
        f"The chip: {found.method}, random weights, {engineering(found.seconds, 's')} a sample at "
        f"{engineering(found.watts, 'W')}."
    ]
    for item, why in found.energy.unknown.items():
        lines.append(f"Unknown and not in its energy: {item}: {why}.")
    lines.append(
        f"Its update is {found.update_angle:.1f} degrees from the ideal network's; the energy is "
        "that of a sample, whatever its update is worth."
    )
    shares = sorted(chips.alone.items(), key=lambda pair: -pair[1])
    alone = ", ".join(f"{name} {degrees:.1f}" for name, degrees in shares)
    wire, n_in, n = design.card.wire, design.sizes[0], design.sizes[1]
    lines.append(
        f"With one imperfection alone, in degrees: {alone}. Wires of {wire.word or 0:g} ohm a cell "
        f"(word line) and {wire.bit or 0:g} (bit line), arrays not tiled: the first has "
        f"{2 * (n_in + 1)} x {n} devices."
    )
    tiled = ", ".join(f"{degrees:.1f} of {n} x {n}" for n, degrees in chips.tiled.items())
    lines.append(f"The same wires in tiles, in degrees: {tiled}.")
    return lines


def main() -> int:
    """Print the table, what its bands are, and its sources."""
    torch.set_num_threads(1)
    rows = digital_rows()
    lacking = why_not_measured()
    if lacking is None:
        rows += measured_rows()
    chips = on_the_chip()
    console = Console(width=max(Console().width, 130))

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    console.print(table_of(rows, chips.found))
    say("Nothing was measured: " + lacking if lacking else "Rows marked (measured): on this GPU.")
    for line in caveats(chips):
        say(line)
    say("A sample, over all machines and formats:")
    for rule in COUNTS:
        band = spread([row for row in rows if row.rule == rule])
        say(f"  {rule}: {band_text(band)} ({band.reason})")
    say(
        "The papers train in fp64: in shorter formats, the small steps of the output target that "
        "the rules of deep feedback control learn from may drown in rounding."
    )
    say("Bands:")
    named = [r for r in rows if r.rule == "dfc" and "(measured)" in r.machine]
    for machine in ("Horowitz", "NVIDIA H200"):
        named.append(next(r for r in rows if r.machine.startswith(machine) and r.rule == "dfc"))
    for row in named:
        say(f"  {row.machine}, dfc: {row.energy.reason}")
    say(f"  analog chip: {chip_band(chips.found).reason}")
    say("Sources:")
    card = chips.found.design.card.card
    for source in (*sources(rows), f"analog chip: {card.name}: {card.source}"):
        say(f"  {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
