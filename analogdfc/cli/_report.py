"""What `compare` prints and records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.table import Table

from analogdfc import records
from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.cli._design import Samples
from analogdfc.comparison import LEAST_LEVEL, ONSET, RESOLUTION, RESOLUTION_DEV, Cause, Comparison
from analogdfc.dynamics import Trajectory, Update
from analogdfc.records import Quantity
from analogdfc.storage import Model, model_tree

_LEGEND = f"""\
ideal: the equations; behavioural: the model; ideal cells, macro cells: the circuit in ngspice.
parity: does the model predict the circuit? deviation: how far is the circuit from the algorithm?
(a finding about the circuit, not an error of a model)
NRMSE of v and r: rms error / rms excursion from the free state (dev: each trace less its own free
state); of u and e: rms error / their own rms (settled: after {ONSET:g} tau_u).
norm: of the update, over that of the reference; error: of the update, relative."""

_UNRESOLVED = "unresolved"
_UNRESOLVED_LEGEND = f"""\
unresolved: moves by less than {RESOLUTION:g} of its level (dev and update: {RESOLUTION_DEV:g}), or
of {LEAST_LEVEL:g} where that is less, which is below what the simulations resolve."""


class Results(NamedTuple):
    """Everything that a run of the command computes."""

    runs: dict[str, Trajectory]
    comparisons: list[Comparison]
    slowest_mode: float | None
    angle: float | None
    causes: list[Cause]
    ends: dict[str, str]
    remarks: list[str]


def numbers(results: Results) -> dict[str, Any]:
    """The numbers of the tables, with units in the names, for JSON and for the record."""
    out: dict[str, Any] = {}
    for c in results.comparisons:
        updates = {
            layer: {
                "angle_degree": u.angle,
                "norm_ratio": u.norm_ratio,
                "relative_error_percent": 100 * u.error,
            }
            for layer, u in c.updates.items()
        }
        out[f"{c.kind}: {c.other} against {c.reference}"] = {
            "kind": c.kind,
            "reference": c.reference,
            "other": c.other,
            "nrmse_percent": {name: 100 * value for name, value in c.signals.items()},
            "update": updates,
            "below_resolution": dict(c.unresolved),
            "settling_time_reference_us": 1e6 * c.settling[0],
            "settling_time_other_us": 1e6 * c.settling[1],
        }
    out["at_the_end"] = dict(results.ends)
    out |= records.remarks_tree(results.remarks)
    if results.slowest_mode is not None:
        out["slowest_mode_per_tau_u"] = results.slowest_mode
    if results.angle is not None:
        causes = results.causes
        out["causes"] = {
            "angle_all_on_degree": results.angle,
            **{
                f"without {c.name}": {"angle_degree": c.angle, "change_degree": c.change}
                for c in causes
            },
        }
        worst = causes[0] if causes and causes[0].change < 0 else None
        out["largest_cause"] = worst.name if worst else "none"
    return out


def tree(
    model: Model,
    design: Design,
    seeds: tuple[int, int],
    data: Samples,
    runs: Mapping[str, Trajectory],
) -> dict[str, Any]:
    """Inputs and waveforms for the record; seeds are that of the inputs and of the chip."""
    return {
        "provenance": records.provenance(),
        "seed": seeds[0],
        "chip_seed": seeds[1],
        "card": design.card.text,
        **({} if design.devices is None else {"devices": design.devices.tree()}),
        "readout": asdict(design.readout),
        "network": model_tree(model),
        "samples": {
            "source": data.source,
            "x": Quantity(data.x.numpy(), "1", "inputs, (sample, neuron)"),
            "target_step": Quantity(data.step.numpy(), "1", "r* - r_L of the free phase"),
        },
        "runs": {name: _run(design, run) for name, run in runs.items()},
    }


def _run(design: Design, run: Trajectory) -> dict[str, Any]:
    out: dict[str, Any] = {
        "t": Quantity((run.t * design.seconds).numpy(), "s", "time after the release"),
        "u": Quantity(run.u.numpy(), "1", "control signal, (sample, time, output)"),
        "e": Quantity(run.e.numpy(), "1", "control error"),
    }
    for i in range(run.depth):
        for name in ("v", "v_ff", "r", "r_ff"):
            out[f"{name}{i + 1}"] = Quantity(getattr(run.neurons, name)[i].numpy(), "1")
            out[f"{name}{i + 1}_free"] = Quantity(getattr(run.free, name)[i].numpy(), "1")
    update = Update.of(run, double_sampling=design.readout.double_sampling)
    for i, (w, b) in enumerate(zip(update.weights, update.biases, strict=True), start=1):
        out[f"dW{i}"] = Quantity(w.numpy(), "1", "weight update a sample, before a learning rate")
        out[f"db{i}"] = Quantity(b.numpy(), "1")
    return out


def show(
    design: Design,
    origin: str,
    source: str,
    results: Results,
) -> None:
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
    if results.slowest_mode is not None:
        state = "stable" if results.slowest_mode < 0 else "UNSTABLE"
        say(
            "slowest mode of the behavioural model, linear about the first sample's rest: "
            f"{results.slowest_mode:+.3g} per tau_u ({state})"
        )
    say("at the end of the run:")
    for name, words in results.ends.items():
        say(f"  {name}: {words}")
    if results.angle is not None:
        console.print(_causes(results.angle, results.causes))


def _signals(comparisons: list[Comparison]) -> Table:
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


def _known(comparisons: list[Comparison]) -> list[str]:
    """Names of all signals and of all updates ('update 1'..), in the order of the layers."""
    names = {n for c in comparisons for n in (*c.signals, *c.unresolved)}
    names |= {f"update {layer}" for c in comparisons for layer in c.updates}
    depth = sum(name.startswith("v") and name[1:].isdigit() for name in names)
    ordered = [s for i in range(1, depth + 1) for s in (f"v{i}", f"v{i} dev", f"r{i}")]
    ordered += ["u", "u settled", "e", *(f"update {i}" for i in range(1, depth + 1)), "update all"]
    return [name for name in ordered if name in names]


def _percent(fraction: float | None) -> str:
    return _UNRESOLVED if fraction is None else f"{100 * fraction:.3g}"


def _causes(angle: float, causes: list[Cause]) -> Table:
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
