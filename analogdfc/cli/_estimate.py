"""What `analogdfc estimate` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from analogdfc.analysis.area import AreaEstimate
from analogdfc.analysis.energy.items import Energy
from analogdfc.analysis.noisy import NoiseFigures
from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.cli._estimate_training import training_table
from analogdfc.cost.estimate import (
    LEAST_SUPPLY,
    MOST_SUPPLY,
    Estimate,
    energy_band,
)
from analogdfc.cost.report import Costs
from analogdfc.cost.sweep import Parameter, Point
from analogdfc.digital import DIGITAL_COLUMNS, Row, digital_cells, sources
from analogdfc.digital.card import Band
from analogdfc.digital.training import engineering
from analogdfc.inverting import InversionEstimate
from analogdfc.inverting.cost import LEFT_OUT
from analogdfc.onchip.bill import Trained


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, however long."""
    console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)


class Billed(Protocol):
    """An estimate with its bills."""

    @property
    def energy(self) -> Energy:
        """By component and part."""

    @property
    def area(self) -> AreaEstimate:
        """By component and part."""


def energy_table(found: Billed) -> Table:
    """Energy of a sample by component and part."""
    energy = found.energy
    table = Table(title="Energy of one sample, in nJ", title_justify="left")
    table.add_column("component", no_wrap=True)
    for part in energy.parts:
        table.add_column(part, justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_column("share, %", justify="right", no_wrap=True)
    total = float(energy.total)
    for component, joules in energy.by_component().items():
        cells = [_nano(energy.items.get((component, part))) for part in energy.parts]
        share = f"{100 * float(joules) / total:.3g}"
        table.add_row(component, *cells, _nano(joules), share)
    for component in energy.unknown:
        table.add_row(component, *["" for _ in energy.parts], "unknown", "")
    table.add_section()
    parts = [_nano(joules) for joules in energy.by_part().values()]
    name = "total" if not energy.unknown else "total of what is known"
    table.add_row(name, *parts, _nano(energy.total), "100", style="bold")
    return table


def _nano(joules: Any) -> str:
    return "" if joules is None else f"{1e9 * float(joules):.4g}"


def unknown_lines(found: Billed) -> list[str]:
    """One line for each item that the card doesn't give."""
    energy = [f"{k}: unknown, not in the energy: {why}" for k, why in found.energy.unknown.items()]
    area = [
        f"area of {k}: unknown, not in the area: {why}" for k, why in found.area.unknown.items()
    ]
    return [*energy, *area]


def area_table(found: Billed) -> Table:
    """Area by component and part."""
    area = found.area
    parts = list(area.by_part())
    table = Table(title="Area (an estimate), in 1e-3 mm^2", title_justify="left")
    table.add_column("component", no_wrap=True)
    for part in parts:
        table.add_column(part, justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    for component, metres in area.by_component().items():
        cells = [area.items.get((component, part)) for part in parts]
        table.add_row(component, *("" if c is None else f"{1e9 * c:.4g}" for c in cells),
                      f"{1e9 * metres:.4g}")  # fmt: skip
    for component in area.unknown:
        table.add_row(component, *["" for _ in parts], "unknown")
    table.add_section()
    sums = [f"{1e9 * metres:.4g}" for metres in area.by_part().values()]
    name = "total" if not area.unknown else "total of what is known"
    table.add_row(name, *sums, f"{1e9 * area.total:.4g}", style="bold")
    return table


def digital_table(rows: Sequence[Row], found: Estimate, samples: int) -> Table:
    """The same training on digital machines, and on the chip."""
    title = f"The same training of {samples} samples, digital and analog"
    table = Table(title=title, title_justify="left")
    for k, head in enumerate(DIGITAL_COLUMNS):
        table.add_column(head, justify="left" if k in (0, 2) else "right", no_wrap=True)
    rule = rows[0].rule if rows else ""
    for row, cells in zip(rows, digital_cells(rows), strict=True):
        if row.rule != rule:
            rule = row.rule
            table.add_section()
        table.add_row(*cells)
    table.add_section()
    band = energy_band(found)
    for name, joules in (("the card's supply current", found.joules), *_ends(band)):
        cells = (engineering(joules, "J"), engineering(samples * joules, "J"))
        table.add_row("dfc", "", f"this chip: {name}", "", *cells, style="bold")
    return table


def _ends(band: Band | None) -> list[tuple[str, float]]:
    if band is None:
        return []
    return [(LEAST_SUPPLY, band.low), (MOST_SUPPLY, band.high)]


def sweep_table(parameter: Parameter, points: Sequence[Point]) -> Table:
    """A sweep for people."""
    table = Table(title=f"Sweep of {parameter.name}", title_justify="left")
    table.add_column(f"value\n{parameter.unit}", justify="right", no_wrap=True)
    for head in ("energy a sample\nnJ", "angle of the update\ndeg", "time a sample\nus"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for value, found, reason in points:
        if found is None:
            table.add_row(f"{value:g}", "", "", "", reason)
        else:
            cells = (1e9 * found.joules, found.update_angle, 1e6 * found.seconds)
            table.add_row(f"{value:g}", *(f"{c:.4g}" for c in cells), "")
    return table


def settling_table(found: Estimate) -> Table:
    """Times and margins: the worst sample of each."""
    s = found.settling
    slowest = s.slowest[int(s.slowest.real.argmax())]
    rows = [
        ("free phase", "us", f"{1e6 * found.free_time:.4g}"),
        ("settle", "us", f"{1e6 * found.settle_time:.4g}"),
        *((name, "us", f"{1e6 * t:.4g}") for name, t in (
            ("auto-zero of the neurons", found.zero_time), ("product of the update",
                                                            found.update_time)) if t),
        ("time of one sample", "us", f"{1e6 * found.seconds:.4g}"),
        (f"update within {found.accuracy:g} degree", "us",
         f"{1e6 * float(s.update_time(found.accuracy).max()):.4g}"),
        (f"control signal within {100 * s.band:g} %", "us", f"{1e6 * float(s.time.max()):.4g}"),
        ("slowest mode of the loop", "1/us", f"{1e-6 * float(slowest.real):+.4g}"),
        ("one mode dominates", "", "yes" if bool(s.dominated.all()) else "no"),
        ("small enough a step for a linear prediction", "", "yes" if bool(s.linear.all()) else
         f"no: control changes a neuron's slope by {100 * float(s.bend.max()):.0f} %"),
        ("gain margin", "1", f"{float(s.gain_margin.min()):.4g}"),
        ("phase margin", "degree", f"{float(s.phase_margin.min()):.4g}"),
    ]  # fmt: skip
    if found.observed is not None:
        seen = (
            (f"observed, behavioural: update within {found.accuracy:g} degree", "update"),
            (f"observed, behavioural: control signal within {100 * s.band:g} %", "control"),
        )
        rows += [
            (text, "us", f"{1e6 * float(getattr(found.observed, name).max()):.4g}")
            for text, name in seen
        ]
    if s.bandwidth_ratio is not None:
        rows.append(("gain-bandwidth over the critical one", "1", f"{s.bandwidth_ratio:.4g}"))
    if s.limit is not None:
        share = ", ".join(f"{k} {v:+.2f}" for k, v in s.elasticities.items())
        rows.append(("limited by", "", f"{s.limit} (d ln time / d ln: {share})"))
    table = Table(title="Settling, worst sample", title_justify="left")
    table.add_column("quantity", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("value")
    for row in rows:
        table.add_row(*row)
    return table


def noise_table(noise: NoiseFigures, double_sampling: bool, held: bool) -> Table:
    """Noise at the controlled steady state, and what it does to an update that is an average."""
    rows = [
        ("potential v, at one moment", "uV", f"{1e6 * noise.v:.4g}"),
        ("activation r", "uV", f"{1e6 * noise.r:.4g}"),
        ("control signal u", "uV", f"{1e6 * noise.u:.4g}"),
        *(
            (f"of the variance of v: {name}", "%", f"{100 * share:.3g}")
            for name, share in noise.shares.items()
        ),
    ]
    if held:
        rows.append(("angle of the update", "degree", "unknown: the update path holds a moment"))
    elif double_sampling:
        rows += [
            ("angle of the update, one moment of the free phase subtracted", "degree",
             f"{noise.angle:.3g}"),
            ("angle of the update, free phase averaged as long as the settle", "degree",
             f"{noise.angle_averaged:.3g}"),
        ]  # fmt: skip
    else:
        rows.append(("angle of the update", "degree", f"{noise.angle:.3g}"))
    rows.append(("sigma of a neuron (Euler-Maruyama)", "1", f"{noise.sigma:.3g}"))
    table = Table(title="Noise, rms", title_justify="left")
    table.add_column("quantity", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def show_noise(console: Console, design: Design, noise: NoiseFigures | str) -> None:
    """Print the noise, or why it isn't known."""
    if isinstance(noise, str):
        say(console, f"noise: unknown: {noise}")
        return
    held = bool(design.card.update_path)
    console.print(noise_table(noise, design.readout.double_sampling, held))
    if design.card.amplifier.noise is None:
        say(console, "noise of the amplifiers: unknown, the card has no [amplifier] noise")


def show(design: Design, origin: str, source: str, work: Costs) -> None:
    """Print everything."""
    console, found = make_console(), work.found
    say(console, f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(console, f"{source}; card: {design.card.card.name}")
    if design.devices is not None:
        say(console, str(design.devices))
    for remark in (*design.card.remarks, *found.remarks):
        say(console, f"Warning: {remark}", "bold")
    for name, factor in design.shrunk_layers().items():
        say(console, f"{name}: conductances scaled by {factor:.4g} to fit the card's window")
    console.print(settling_table(found))
    show_noise(console, design, work.noise)
    console.print(energy_table(found))
    for line in unknown_lines(found):
        say(console, line)
    say(
        console,
        f"one sample: {engineering(found.joules, 'J')} in {engineering(found.seconds, 's')} "
        f"({engineering(found.watts, 'W')}), the settle from {found.method}; angle of the update "
        f"to the ideal one {found.update_angle:.3g} degree",
    )
    console.print(area_table(found))
    say(console, found.area.note, style="dim")
    for parameter, points in work.sweeps:
        console.print(sweep_table(parameter, points))
    if work.rows:
        console.print(digital_table(work.rows, found, work.samples))
        card = design.card.card
        for line in (*sources(work.rows), f"this chip: {card.name}: {card.source}"):
            say(console, line, style="dim")


def show_inversion(
    rule: str, origin: str, source: str, found: InversionEstimate, remarks: Sequence[str]
) -> None:
    """Print what a backward pass by dynamic inversion costs."""
    console, design = make_console(), found.design
    say(console, f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(console, f"dynamic inversion ({rule}); {source}; card: {design.card.card.name}")
    if design.devices is not None:
        say(console, str(design.devices))
    for remark in remarks:
        say(console, f"Warning: {remark}", "bold")
    for name, factor in design.shrunk_layers().items():
        say(console, f"{name}: conductances scaled by {factor:.4g} to fit the card's window")
    table = Table(title="Settling, worst sample", title_justify="left")
    for head in ("circuit", "settle\nus", "slowest mode, ideal\n1/us"):
        table.add_column(head, justify="left" if head == "circuit" else "right", no_wrap=True)
    for links, seconds in zip(design.circuits, found.settle_times, strict=True):
        slowest = 1e-6 * design.inversion(links).abscissa() / design.seconds
        name = ", ".join(link.name for link in links)
        table.add_row(name, f"{1e6 * seconds:.4g}", f"{slowest:+.4g}")
    console.print(table)
    console.print(energy_table(found))
    for line in unknown_lines(found):
        say(console, line)
    say(
        console,
        f"one backward pass: {engineering(found.joules, 'J')} in "
        f"{engineering(found.seconds, 's')} ({engineering(found.watts, 'W')}); angle of the update "
        f"to the ideal one {found.update_angle:.3g} degree",
    )
    console.print(area_table(found))
    say(console, f"{found.area.note}; {LEFT_OUT}", style="dim")


def show_training(training: Trained) -> None:
    """Print what a training takes."""
    console = make_console()
    console.print(training_table(training))
    for rule in training.convergence.rules:
        say(console, training.convergence.verdict(rule))
    if training.unknown:
        say(console, f"not in the energy: {training.unknown}")
