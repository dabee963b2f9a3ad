"""What `montecarlo` prints."""

from __future__ import annotations

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
        say(f"chip {seed}: {angle:.3f} degrees in SPICE, {found.of(seed):.3f} in the model")
    for seed, why in found.circuits.failed.items():
        log = f"; the record has its log in circuits/log/{seed}" * (seed in found.circuits.logs)
        say(f"Warning: chip {seed} has no result in SPICE: {why}{log}", "bold")
