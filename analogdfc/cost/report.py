"""An estimate with all that is laid beside it, as trees of numbers, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from analogdfc.analysis.noisy import NoiseFigures
from analogdfc.cost.bandwidth import AtBandwidth
from analogdfc.cost.estimate import Estimate, energy_band
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
        noise: noise at the controlled steady state, or why it isn't known.
    """

    found: Estimate
    bandwidths: Sequence[AtBandwidth]
    sweeps: Sequence[tuple[Parameter, Sequence[Point]]]
    rows: Sequence[Row]
    samples: int
    noise: NoiseFigures | str

    def numbers(self) -> dict[str, Any]:
        """All numbers: single ones with their unit in the name, columns with their unit."""
        return {
            **_estimate(self.found),
            "settling": _settling(self.found),
            "noise": _noise(self.noise),
            "bandwidths": _bandwidths(self.bandwidths),
            "sweeps": {p.name: _sweep(p, points) for p, points in self.sweeps},
            **remarks_tree([*self.found.design.card.remarks, *self.found.remarks]),
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
        **({"update_us": 1e6 * found.update_time} if found.update_time else {}),
        **({"auto_zero_us": 1e6 * found.zero_time} if found.zero_time else {}),
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

    def each(values: Tensor, unit: str, what: str) -> Quantity:
        return Quantity(values, unit, what, ("sample",))

    angle = f"the update is within {found.accuracy:g} degree of that at rest"
    band = f"the control signal stays within {100 * settling.band:g} % of its rest"
    out: dict[str, Any] = {
        "band_percent": 100 * settling.band,
        "slowest_mode_per_second": each(slowest.real, "1/s", "real part; above 0: unstable"),
        "slowest_mode_hertz": each(slowest.imag.abs() / (2 * math.pi), "Hz", "its frequency"),
        "one_mode_dominates": each(settling.dominated, "1", "one mode alone gives the time"),
        "bend": each(
            settling.bend,
            "1",
            "largest change of a neuron's slope by the control, as a part of it",
        ),
        "linear": each(
            settling.linear, "1", "bend is at most a half, so that a linear prediction holds"
        ),
        "control_us": each(1e6 * settling.time, "us", f"until {band}"),
        "update_us": each(1e6 * settling.update_time(found.accuracy), "us", f"until {angle}"),
        "free_phase_us": each(1e6 * settling.free_phase(found.accuracy), "us", "without control"),
        "gain_margin": each(settling.gain_margin, "1", "factor of the loop's gain"),
        "phase_margin_degree": each(settling.phase_margin, "degree", "of the loop"),
        "elasticity_of_settling_time": dict(settling.elasticities),
    }
    if found.observed is not None:
        out["observed_control_us"] = each(
            1e6 * found.observed.control, "us", f"behavioural model: until {band}"
        )
        out["observed_update_us"] = each(
            1e6 * found.observed.update, "us", f"behavioural model: until {angle}"
        )
    if settling.bandwidth_ratio is not None:
        out["gain_bandwidth_over_critical"] = settling.bandwidth_ratio
    if settling.limit is not None:
        out["limited_by"] = settling.limit
    return out


def _noise(noise: NoiseFigures | str) -> dict[str, Any]:
    """Noise at the controlled steady state, and of the mean update."""
    if isinstance(noise, str):
        return {"unknown": noise}

    def drawn(values: Any, unit: str, what: str) -> Quantity:
        return Quantity(values, unit, what, ("frequency",))

    return {
        "spectrum": {
            "frequency_hertz": drawn(noise.frequencies, "Hz", "of the densities"),
            **{
                f"{name}_v2_per_hertz": drawn(
                    density, "V^2/Hz", f"one-sided density of {name}, mean over neurons and samples"
                )
                for name, density in noise.densities.items()
            },
        },
        "settle_us": 1e6 * noise.settle,
        "v_rms_uv": 1e6 * noise.v,
        "r_rms_uv": 1e6 * noise.r,
        "u_rms_uv": 1e6 * noise.u,
        "share_of_v_by_source": dict(noise.shares),
        "update_rms_percent": 100 * noise.update,
        "update_rms_averaged_percent": 100 * noise.update_averaged,
        "update_angle_degree": noise.angle,
        "update_angle_averaged_degree": noise.angle_averaged,
        "sigma": noise.sigma,
    }


def _bandwidths(points: Sequence[AtBandwidth]) -> dict[str, Any]:
    """Settling with other amplifiers; nan where the loop doesn't settle."""
    return {
        name: Quantity(found, unit, what, ("point",))
        for name, found, unit, what in (
            ("gain_bandwidth_hertz", [p.hertz for p in points], "Hz", "of every amplifier"),
            ("control_us", [1e6 * p.control for p in points], "us", "settling of the control"),
            ("update_us", [1e6 * p.update for p in points], "us", "settling of the update"),
        )
    } | {
        "reason": [p.reason for p in points],
    }


def _sweep(parameter: Parameter, points: Sequence[Point]) -> dict[str, Any]:
    """A sweep, one entry a value; nan where the design doesn't work."""

    def column(pick: Callable[[Cost], float], unit: str, what: str) -> Quantity:
        found = (math.nan if p.cost is None else pick(p.cost) for p in points)
        return Quantity(list(found), unit, f"{what}; nan where the design doesn't work", ("point",))

    return {
        "parameter": parameter.name,
        "unit": parameter.unit,
        "value": Quantity(
            [p.value for p in points], parameter.unit, f"of {parameter.name}", ("point",)
        ),
        "energy_per_sample_joule": column(lambda e: e.joules, "J", "energy of a sample"),
        "update_angle_degree": column(
            lambda e: e.update_angle, "degree", "angle of the update to the ideal one"
        ),
        "sample_us": column(lambda e: 1e6 * e.seconds, "us", "time of a sample"),
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
