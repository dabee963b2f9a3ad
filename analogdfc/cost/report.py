"""An estimate with all that is laid beside it, as trees of numbers, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analogdfc.cost.estimate import AtBandwidth, Estimate, energy_band
from analogdfc.cost.sweep import Cost, Parameter, Point
from analogdfc.digital import Row
from analogdfc.records import Quantity, remarks_tree


@dataclass(frozen=True)
class Costs:
    """What learning costs on a chip, and what that is compared with.

    Attributes:
        found: the estimate.
        bandwidths: settling with other amplifiers.
        sweeps: parameters with their points.
        rows: the digital baseline.
        samples: samples of its training.
    """

    found: Estimate
    bandwidths: Sequence[AtBandwidth]
    sweeps: Sequence[tuple[Parameter, Sequence[Point]]]
    rows: Sequence[Row]
    samples: int

    def numbers(self) -> dict[str, Any]:
        """All numbers: single ones with their unit in the name, columns with their unit."""
        return {
            **_estimate(self.found),
            "settling": _settling(self.found),
            "bandwidths": _bandwidths(self.bandwidths),
            "sweeps": {p.name: _sweep(p, points) for p, points in self.sweeps},
            **remarks_tree(self.found.design.card.remarks),
            "digital": {"training_samples": self.samples, "rows": _digital(self.rows)},
        }


def _estimate(found: Estimate) -> dict[str, Any]:
    energy, area = found.energy, found.area
    band = energy_band(found)
    spread: dict[str, Any] = {}
    if band is not None:
        spread = {
            "energy_per_sample_low_joule": band.low,
            "energy_per_sample_high_joule": band.high,
            "energy_spread": band.reason,
        }
    pulses: dict[str, Any] = {}
    if found.pulses is not None:
        of_layers = {f"layer {i}": n for i, n in enumerate(found.pulses, start=1)}
        pulses = {"pulses_per_sample": of_layers}
    return {
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
        **spread,
        **pulses,
    }


def _nested(items: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (component, part), value in items.items():
        out.setdefault(component, {})[part] = value
    return out


def _settling(found: Estimate) -> dict[str, Any]:
    """Settling of each sample, and what limits it."""
    settling = found.settling
    slowest = settling.slowest
    out: dict[str, Any] = {
        "band_percent": 100 * settling.band,
        "slowest_mode_per_second": Quantity(slowest.real, "1/s"),
        "slowest_mode_hertz": Quantity(slowest.imag.abs() / (2 * math.pi), "Hz"),
        "one_mode_dominates": Quantity(settling.dominated, "1"),
        "control_us": Quantity(1e6 * settling.time, "us"),
        "update_us": Quantity(1e6 * settling.update_time(found.accuracy), "us"),
        "free_phase_us": Quantity(1e6 * settling.free_phase(found.accuracy), "us"),
        "gain_margin": Quantity(settling.gain_margin, "1"),
        "phase_margin_degree": Quantity(settling.phase_margin, "degree"),
        "elasticity_of_settling_time": dict(settling.elasticities),
    }
    if found.observed is not None:
        out["observed_control_us"] = Quantity(1e6 * found.observed.control, "us")
        out["observed_update_us"] = Quantity(1e6 * found.observed.update, "us")
    if settling.bandwidth_ratio is not None:
        out["gain_bandwidth_over_critical"] = settling.bandwidth_ratio
    if settling.limit is not None:
        out["limited_by"] = settling.limit
    return out


def _bandwidths(points: Sequence[AtBandwidth]) -> dict[str, Any]:
    """Settling with other amplifiers; nan where the loop doesn't settle."""
    return {
        "gain_bandwidth_hertz": Quantity([p.hertz for p in points], "Hz"),
        "control_us": Quantity([1e6 * p.control for p in points], "us"),
        "update_us": Quantity([1e6 * p.update for p in points], "us"),
        "reason": [p.reason for p in points],
    }


def _sweep(parameter: Parameter, points: Sequence[Point]) -> dict[str, Any]:
    """A sweep, one entry a value; nan where the design doesn't work."""

    def column(pick: Callable[[Cost], float], unit: str) -> Quantity:
        found = (math.nan if p.cost is None else pick(p.cost) for p in points)
        return Quantity(list(found), unit)

    return {
        "parameter": parameter.name,
        "unit": parameter.unit,
        "value": Quantity([p.value for p in points], parameter.unit),
        "energy_per_sample_joule": column(lambda e: e.joules, "J"),
        "update_angle_degree": column(lambda e: e.update_angle, "degree"),
        "sample_us": column(lambda e: 1e6 * e.seconds, "us"),
        "reason": [p.reason for p in points],
    }


def _digital(rows: Sequence[Row]) -> list[dict[str, Any]]:
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
