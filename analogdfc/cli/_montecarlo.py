"""What `montecarlo` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.montecarlo.found import Yield

_SHOWN = 5
"""Correlations that are printed; the record has all."""

_LEGEND = """\
chance: probability that a correlation this large appears among all that was drawn, had none of it
to do with the angle."""


def show(design: Design, origin: str, samples: str, found: Yield) -> None:
    """Print the yield and what goes with the angle."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    seeds = found.chips.seeds
    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"{samples}; {len(seeds)} chips from seed {seeds[0]}; card: {design.card.card.name}")
    for seed, why in found.chips.failed.items():
        say(f"Warning: chip {seed} has no result: {why}", "bold")
    low, high = found.interval
    say(
        f"yield {100 * found.share:.4g} %: {found.within} of {len(seeds)} chips are within "
        f"{found.max_angle:g} degrees (95 % confidence: {100 * low:.3g} to {100 * high:.3g} %)"
    )
    table = Table("part of the chips", title_justify="left", title="Angle of the update")
    table.add_column("within (degrees)", justify="right")
    for part, angle in found.quantiles().items():
        table.add_row(f"{100 * part:g} %", f"{angle:.3g}")
    console.print(table)
    if found.correlations:
        table = Table("what chips drew", title_justify="left", title="What goes with the angle")
        table.add_column("rank correlation", justify="right")
        table.add_column("chance", justify="right")
        for one in found.correlations[:_SHOWN]:
            table.add_row(one.name, f"{one.rank:+.2f}", f"{one.chance:.1g}")
        console.print(table)
        say(_LEGEND, style="dim")
    for seed, angle in found.circuits.angles.items():
        same = "" if found.circuits.drawn else f", {found.of(seed):.3f} in the model"
        say(f"chip {seed}: {angle:.3f} degrees in SPICE{same}")
    if found.medians is not None:
        say(
            f"median angle in SPICE {found.medians.circuits}, in the model {found.medians.model} "
            f"(95 % confidence); chance of a difference like this: {found.medians.chance:.2g}"
        )
    for seed, why in found.circuits.failed.items():
        log = f"; the record has its log in circuits/log/{seed}" * (seed in found.circuits.logs)
        say(f"Warning: chip {seed} has no result in SPICE: {why}{log}", "bold")


def show_conditions(design: Design, origin: str, samples: str, found: Sequence[Yield]) -> None:
    """Print a row for every condition under which chips were tried."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    seeds = found[0].chips.seeds
    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"{samples}; {len(seeds)} chips from seed {seeds[0]}; card: {design.card.card.name}")
    bound = f"within {found[0].max_angle:g} degrees"
    table = Table("condition", title_justify="left", title="Chips; medians in degrees")
    for name in (f"model, {bound}", "median", f"circuits, {bound}", "median"):
        table.add_column(name, justify="right")
    for one in found:
        modelled = [f"{100 * one.share:.4g} %", f"{one.quantiles()[0.5]:.3g}"]
        simulated = ["", ""]
        if one.medians is not None:
            middle = one.medians.circuits
            angles = one.circuits.angles.values()
            within = sum(angle <= one.max_angle for angle in angles)
            simulated = [f"{within} of {middle.chips}", f"{middle.value:.3g}"]
        table.add_row(str(one.condition), *modelled, *simulated)
    console.print(table)
    for one in found:
        for seed, why in one.circuits.failed.items():
            say(f"Warning: {one.condition}: chip {seed} has no result in SPICE: {why}", "bold")
