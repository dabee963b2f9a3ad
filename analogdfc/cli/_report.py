"""What `compare` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.comparison import (
    LEAST_LEVEL,
    ONSET,
    RESOLUTION,
    RESOLUTION_DEV,
    Cause,
    Comparison,
    StepError,
)
from analogdfc.findings import Findings
from analogdfc.inverting import InversionDesign, InversionResult

_LEGEND = f"""\
ideal: the equations; behavioural: the model; ideal, macro, transistor cells: the circuit in
ngspice.
parity: does the model predict the circuit? deviation: how far is the circuit from the algorithm?
(a finding about the circuit, not an error of a model)
NRMSE of v and r: rms error / rms excursion from the free state (dev: each trace less its own free
state); of u and e: rms error / their own rms (settled: after {ONSET:g} tau_u).
norm: of the update, over that of the reference; error: of the update, relative."""

_UNRESOLVED = "unresolved"
_UNRESOLVED_LEGEND = f"""\
unresolved: moves by less than {RESOLUTION:g} of its level (dev and update: {RESOLUTION_DEV:g}), or
of {LEAST_LEVEL:g} where that is less, which is below what the simulations resolve."""

_STEPS_LEGEND = """\
steps: NRMSE to a run at a tenth of the tolerance, which follows the loop's damping."""


def show(design: Design, origin: str, source: str, results: Findings) -> None:
    """Print the tables."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"{source}; card: {design.card.card.name}")
    if design.devices is not None:
        say(str(design.devices))
    for remark in results.remarks:
        say(f"Warning: {remark}", style="bold")
    for name, factor in design.shrunk_layers().items():
        say(f"{name}: conductances scaled by {factor:.4g} to fit the card's window")
    console.print(_signals(results.comparisons))
    say(_LEGEND, style="dim")
    if any(c.unresolved for c in results.comparisons):
        say(_UNRESOLVED_LEGEND, style="dim")
    if results.step_errors:
        console.print(_steps(results.step_errors))
        say(_STEPS_LEGEND, style="dim")
    if results.slowest_mode is not None:
        state = "stable" if results.slowest_mode < 0 else "UNSTABLE"
        say(
            "slowest mode of the behavioural model, linear about the first sample's rest: "
            f"{results.slowest_mode:+.3g} per tau_u ({state})"
        )
    if results.ending is not None:
        say(f"length of all runs: in the behavioural model {results.ending}")
    for name, run in results.runs.items():
        if run.made_by:
            say(f"{name}: simulated by {run.made_by}")
    say("at the end of the run:")
    for name, words in results.ends.items():
        say(f"  {name}: {words}")
    if results.angle is not None:
        console.print(_causes(results.angle, results.causes))


_INVERSION_LEGEND = """\
delta: errors that the layers get; u, e: of the controllers, by the layer that controls. NRMSE: rms
error / rms of the signal (dev, and e: each trace less what it was before the release).
norm: of the update, over that of the reference; error: of the update, relative."""

_FORM_WORDS = {
    "pairs": "layer pairs in sequence",
    "repeat": "repeated layers, all at once",
    "single": "a single loop",
}


def show_inversion(
    design: InversionDesign, rule: str, origin: str, source: str, result: InversionResult
) -> None:
    """Print the tables of an inversion."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"dynamic inversion ({rule}): {_FORM_WORDS[design.form]}")
    say(f"{source}; card: {design.card.card.name}")
    if design.devices is not None:
        say(str(design.devices))
    for remark in result.remarks:
        say(f"Warning: {remark}", style="bold")
    for name, factor in design.shrunk_layers().items():
        say(f"{name}: conductances scaled by {factor:.4g} to fit the card's window")
    console.print(_signals(result.comparisons))
    say(_INVERSION_LEGEND, style="dim")
    for name, found in result.runs.items():
        if found.made_by:
            say(f"{name}: simulated by {found.made_by}")


def _steps(errors: Mapping[str, StepError]) -> Table:
    table = Table(title="What the time steps do", title_justify="left")
    table.add_column("realisation", no_wrap=True)
    table.add_column("worst signal")
    table.add_column("NRMSE\n%", justify="right")
    table.add_column("tolerance\nof the usual", justify="right")
    for name, e in errors.items():
        table.add_row(name, e.signal, f"{100 * e.error:.3g}", f"{e.tolerance:.3g}")
    return table


def _signals(comparisons: Sequence[Comparison]) -> Table:
    table = Table(title="Realisations side by side", title_justify="left")
    table.add_column("quantity", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for c in comparisons:
        table.add_column(f"{c.kind}\n{c.other}\nvs {c.reference}", justify="right", no_wrap=True)
    for name in _known(comparisons):
        if name.startswith("update "):
            continue
        shown = (_percent(c.signals.get(name)) for c in comparisons)
        table.add_row(f"NRMSE {name}", "%", *shown)
    table.add_section()
    for name in [k for k in _known(comparisons) if k.startswith("update ")]:
        layer = name.removeprefix("update ")
        found = [c.updates.get(layer) for c in comparisons]
        label = "update, all" if layer == "all" else f"update, layer {layer}"
        angles = (_UNRESOLVED if u is None else f"{u.angle:.3g}" for u in found)
        norms = (_UNRESOLVED if u is None else f"{u.norm_ratio:.5f}" for u in found)
        errors = (_percent(None if u is None else u.error) for u in found)
        table.add_row(f"{label}: angle", "deg", *angles)
        table.add_row(f"{label}: norm", "1", *norms)
        table.add_row(f"{label}: error", "%", *errors)
    table.add_section()
    times = [[f"{1e6 * s:.4g}" for s in c.settling] for c in comparisons]
    table.add_row("settling time", "us", *(other for _, other in times))
    table.add_row("settling time, reference", "us", *(reference for reference, _ in times))
    return table


def _known(comparisons: Sequence[Comparison]) -> list[str]:
    """Names of all signals and of all updates ('update 1'..), in the order of the layers."""
    names = dict.fromkeys(n for c in comparisons for n in (*c.signals, *c.unresolved))
    names |= dict.fromkeys(f"update {layer}" for c in comparisons for layer in c.updates)
    depth = sum(name.startswith("v") and name[1:].isdigit() for name in names)
    ordered = [s for i in range(1, depth + 1) for s in (f"v{i}", f"v{i} dev", f"r{i}")]
    ordered += ["u", "u settled", "e", *(f"update {i}" for i in range(1, depth + 1)), "update all"]
    # Those of another kind of circuit stand as its comparison has them.
    return [
        *(name for name in ordered if name in names),
        *(name for name in names if name not in ordered),
    ]


def _percent(fraction: float | None) -> str:
    return _UNRESOLVED if fraction is None else f"{100 * fraction:.3g}"


def _causes(angle: float, causes: Sequence[Cause]) -> Table:
    table = Table(title="What turns the update away from the ideal one", title_justify="left")
    table.add_column("switched off alone", no_wrap=True)
    table.add_column("angle\ndeg", justify="right")
    table.add_column("change\ndeg", justify="right")
    table.add_row("nothing: the whole chip", f"{angle:.3g}", "", end_section=True)
    for k, cause in enumerate(causes):
        worst = k == 0 and cause.change < 0
        name = f"{cause.name}  <- largest cause" if worst else cause.name
        table.add_row(
            name, f"{cause.angle:.3g}", f"{cause.change:+.3g}", style="bold" if worst else ""
        )
    return table
