"""What `analogdfc estimate` prints and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from analogdfc import records
from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.cli._design import Samples
from analogdfc.cli._estimate_training import training_table
from analogdfc.cost.estimate import (
    LEAST_SUPPLY,
    MOST_SUPPLY,
    AtBandwidth,
    Estimate,
    energy_band,
)
from analogdfc.cost.sweep import Parameter, Point
from analogdfc.digital import DIGITAL_COLUMNS, Row, digital_cells, sources
from analogdfc.digital.card import Band
from analogdfc.digital.training import engineering
from analogdfc.onchip.bill import Trained
from analogdfc.records import Quantity
from analogdfc.storage import Model, model_tree


class Work(NamedTuple):
    """Everything that a run of the command computes.

    Attributes:
        found: the estimate.
        bandwidths: settling with other amplifiers.
        sweeps: parameters with their points.
        rows: the digital baseline.
        samples: samples of its training.
    """

    found: Estimate
    bandwidths: list[AtBandwidth]
    sweeps: list[tuple[Parameter, list[Point]]]
    rows: list[Row]
    samples: int


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, however long."""
    console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)


def energy_table(found: Estimate) -> Table:
    """Energy of a sample by component and part."""
    energy = found.energy
    table = Table(title="Energy of one sample, in nJ", title_justify="left")
    table.add_column("component", no_wrap=True)
    for part in energy.parts:
        table.add_column(part, justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_column("share, %", justify="right", no_wrap=True)
    total = found.joules
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


def unknown_lines(found: Estimate) -> list[str]:
    """One line for each item that the card doesn't give."""
    energy = [f"{k}: unknown, not in the energy: {why}" for k, why in found.energy.unknown.items()]
    area = [
        f"area of {k}: unknown, not in the area: {why}" for k, why in found.area.unknown.items()
    ]
    return [*energy, *area]


def area_table(found: Estimate) -> Table:
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
    table.add_row("total", *sums, f"{1e9 * area.total:.4g}", style="bold")
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


def numbers(found: Estimate) -> dict[str, Any]:
    """The numbers of the tables, with units in the names."""
    energy, area = found.energy, found.area
    out: dict[str, Any] = {
        "method": found.method,
        "free_phase_us": 1e6 * found.free_time,
        "settle_us": 1e6 * found.settle_time,
        "sample_us": 1e6 * found.seconds,
        "energy_per_sample_joule": found.joules,
        "mean_power_watt": found.watts,
        "update_angle_degree": found.update_angle,
        "required_accuracy_degree": found.accuracy,
        "energy_joule": _nested({k: float(v) for k, v in energy.items.items()}),
        "energy_by_component_joule": {k: float(v) for k, v in energy.by_component().items()},
        "energy_by_part_joule": {k: float(v) for k, v in energy.by_part().items()},
        "energy_unknown": dict(energy.unknown),
        "area_note": area.note,
        "area_square_metre": _nested(area.items),
        "area_total_square_metre": area.total,
        "area_unknown": dict(area.unknown),
    }
    band = energy_band(found)
    if band is not None:
        out["energy_per_sample_low_joule"] = band.low
        out["energy_per_sample_high_joule"] = band.high
        out["energy_spread"] = band.reason
    if found.pulses is not None:
        out["pulses_per_sample"] = {f"layer {i}": n for i, n in enumerate(found.pulses, start=1)}
    return out


def _nested(items: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (component, part), value in items.items():
        out.setdefault(component, {})[part] = value
    return out


def digital_numbers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of the digital baseline."""
    return [
        {
            "rule": row.rule,
            "machine": row.machine,
            "source": row.source,
            "operations_per_sample": row.operations.total / row.samples,
            "bytes_per_sample": row.bytes / row.samples,
            "energy_per_sample_low_joule": row.per_sample.low,
            "energy_per_sample_high_joule": row.per_sample.high,
            "spread": row.per_sample.reason,
        }
        for row in rows
    ]


def sweep_numbers(parameter: Parameter, points: Sequence[Point]) -> dict[str, Any]:
    """A sweep, one entry a value; None where the design doesn't work."""

    def column(pick: Any) -> list[float | None]:
        return [None if p.estimate is None else pick(p.estimate) for p in points]

    return {
        "parameter": parameter.name,
        "unit": parameter.unit,
        "value": [p.value for p in points],
        "energy_per_sample_joule": column(lambda e: e.joules),
        "update_angle_degree": column(lambda e: e.update_angle),
        "sample_us": column(lambda e: 1e6 * e.seconds),
        "reason": [p.reason for p in points],
    }


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


def inputs_tree(
    model: Model, found: Estimate, seeds: tuple[int, int], data: Samples
) -> dict[str, Any]:
    """Inputs for the record."""
    devices = found.design.devices
    return {
        "provenance": records.provenance(),
        "seed": seeds[0],
        "chip_seed": seeds[1],
        "card": found.design.card.text,
        **({} if devices is None else {"devices": devices.tree()}),
        "readout": asdict(found.design.readout),
        "network": model_tree(model),
        "samples": {
            "source": data.source,
            "x": Quantity(data.x.numpy(), "1", "inputs, (sample, neuron)"),
            "target_step": Quantity(data.step.numpy(), "1", "r* - r_L of the free phase"),
        },
    }


def settling_numbers(found: Estimate) -> dict[str, Any]:
    """Settling of each sample, and what limits it."""
    settling = found.settling
    out: dict[str, Any] = {
        "band_percent": 100 * settling.band,
        "slowest_mode_per_second": [m.real for m in settling.slowest.tolist()],
        "slowest_mode_hertz": [abs(m.imag) / (2 * math.pi) for m in settling.slowest.tolist()],
        "one_mode_dominates": settling.dominated.tolist(),
        "control_us": (1e6 * settling.time).tolist(),
        "update_us": (1e6 * settling.update_time(found.accuracy)).tolist(),
        "free_phase_us": (1e6 * settling.free_phase(found.accuracy)).tolist(),
        "gain_margin": settling.gain_margin.tolist(),
        "phase_margin_degree": settling.phase_margin.tolist(),
        "elasticity_of_settling_time": dict(settling.elasticities),
    }
    if found.observed is not None:
        out["observed_control_us"] = (1e6 * found.observed.control).tolist()
        out["observed_update_us"] = (1e6 * found.observed.update).tolist()
    if settling.bandwidth_ratio is not None:
        out["gain_bandwidth_over_critical"] = settling.bandwidth_ratio
    if settling.limit is not None:
        out["limited_by"] = settling.limit
    return out


def bandwidth_numbers(points: Sequence[AtBandwidth]) -> dict[str, list[Any]]:
    """Settling with other amplifiers; nan where the loop doesn't settle."""
    return {
        "gain_bandwidth_hertz": [p.hertz for p in points],
        "control_us": [1e6 * p.control for p in points],
        "update_us": [1e6 * p.update for p in points],
        "reason": [p.reason for p in points],
    }


def settling_table(found: Estimate) -> Table:
    """Times and margins: the worst sample of each."""
    s = found.settling
    slowest = s.slowest[int(s.slowest.real.argmax())]
    rows = [
        ("free phase", "us", f"{1e6 * found.free_time:.4g}"),
        ("settle", "us", f"{1e6 * found.settle_time:.4g}"),
        ("time of one sample", "us", f"{1e6 * found.seconds:.4g}"),
        (f"update within {found.accuracy:g} degree", "us",
         f"{1e6 * float(s.update_time(found.accuracy).max()):.4g}"),
        (f"control signal within {100 * s.band:g} %", "us", f"{1e6 * float(s.time.max()):.4g}"),
        ("slowest mode of the loop", "1/us", f"{1e-6 * float(slowest.real):+.4g}"),
        ("one mode dominates", "", "yes" if bool(s.dominated.all()) else
         "no: the times are sums over the modes"),
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


def show(design: Design, origin: str, source: str, work: Work) -> None:
    """Print everything."""
    console, found = make_console(), work.found
    say(console, f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(console, f"{source}; card: {design.card.card.name}")
    if design.devices is not None:
        say(console, str(design.devices))
    for remark in design.card.remarks:
        say(console, f"Warning: {remark}", "bold")
    for name, factor in design.shrunk_layers().items():
        say(console, f"{name}: conductances scaled by {factor:.4g} to fit the card's window")
    console.print(settling_table(found))
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


_UNITS = {
    "_joule": "J",
    "_us": "us",
    "_degree": "degree",
    "_hertz": "Hz",
    "_square_metre": "m^2",
    "_percent": "%",
    "_per_second": "1/s",
}


def results_tree(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers for a record: lists as arrays with a unit, rows by their place, no None."""
    out: dict[str, Any] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            out[name] = results_tree(value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            out[name] = {str(k): results_tree(row) for k, row in enumerate(value)}
        elif isinstance(value, list) and value and not isinstance(value[0], str):
            unit = next((u for end, u in _UNITS.items() if name.endswith(end)), "1")
            values = [math.nan if v is None else v for v in value]
            out[name] = Quantity(
                values, str(numbers.get("unit", unit) if name == "value" else unit)
            )
        elif value is not None and value != []:
            out[name] = value
    return out


def show_training(training: Trained) -> None:
    """Print what a training takes."""
    console = make_console()
    console.print(training_table(training))
    for rule in training.convergence.rules:
        say(console, training.convergence.verdict(rule))
    if training.unknown:
        say(console, f"not in the energy: {training.unknown}")


def for_json(value: Any) -> Any:
    """Numbers as JSON has them: null for one that isn't finite."""
    if isinstance(value, Mapping):
        return {name: for_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [for_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
