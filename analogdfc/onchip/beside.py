"""Two trainings step by step: learning curves, distance of the weights, angle of every update."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analogdfc.drawing import Figure, headed, new_figure, own_settings
from analogdfc.errors import UserError
from analogdfc.onchip.steps import KEY
from analogdfc.plots import label
from analogdfc.records import Quantity, Record

__all__ = ["Beside", "beside_figure"]

Array = NDArray[np.float64]

_ALIKE = ("dataset", "samples", "sizes", "activations", "loss", "autoencoder", "seed")
"""Settings without which two trainings have other samples, or other weights at the start."""

_MEAN = 20
"""Steps over which a learning curve is averaged."""

_COLOURS = ("0.7", "#0072B2")


@dataclass(frozen=True)
class Pulses:
    """Pulses of two trainings on the same devices.

    Attributes:
        sent: pulses of the first.
        differing: devices and steps in which the second sent others.
        by_one: those among them that differ by one pulse: the wanted change lay at the edge of a
            rounding.
    """

    sent: int
    differing: int
    by_one: int


@dataclass(frozen=True)
class Beside:
    """A training laid beside another one, which is the reference.

    Attributes:
        names: what each went through, the reference first.
        loss: of each mini-batch, (2, steps).
        right: share of right answers in it, (2, steps).
        angle: between the updates of a step, all layers, in degrees, (steps,); nan where one is 0.
        error: norm of their difference over that of the reference's, (steps,).
        distance: norm of the difference of the weights after a step over that of what the
            reference's have moved by then, (steps,).
        pulses: those on the devices; None where none were recorded.

    Raises:
        UserError: of `of`.
    """

    names: tuple[str, str]
    loss: Array
    right: Array
    angle: Array
    error: Array
    distance: Array
    pulses: Pulses | None = None

    @classmethod
    def of(cls, reference: Record, other: Record) -> Beside:
        """Of two records of trainings through a chip.

        Args:
            reference: the record that the other is measured against.
            other: the other.

        Raises:
            UserError: a record without steps, or two trainings on other samples, from other
                weights or of another number of steps.
        """
        both = (reference, other)
        told = [_settings(record) for record in both]
        for key in _ALIKE:
            if told[0].get(key) != told[1].get(key):
                raise UserError(
                    f"{other.path}: was trained with {key} = {told[1].get(key)}, and "
                    f"{reference.path} with {told[0].get(key)}; steps can be laid beside each "
                    "other where samples and first weights are the same"
                )
        loss, right = ([_column(r, name) for r in both] for name in ("loss", "right"))
        if len(loss[0]) != len(loss[1]) or not len(loss[0]):
            raise UserError(
                f"{other.path}: has {len(loss[1])} steps, and {reference.path} {len(loss[0])}; as "
                "many are needed, one or more"
            )
        a, b = (_flat(record, "d") for record in both)
        weights = [np.concatenate([_flat(r, ""), _last(r)[None]])[1:] for r in both]
        start = _flat(reference, "")[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = np.linalg.norm(weights[0] - start, axis=1)
            distance = np.linalg.norm(weights[1] - weights[0], axis=1) / moved
            error = np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1)
        return cls(
            (_way(told[0]), _way(told[1])),
            np.stack(loss),
            np.stack(right),
            _angles(a, b),
            error,
            distance,
            _pulses(*both),
        )

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        found: dict[str, Any] = {
            "reference": self.names[0],
            "other": self.names[1],
            "steps": len(self.angle),
            "weight_change_error_percent": 100 * float(self.distance[-1]),
            "update_angle_largest_degree": float(np.nanmax(self.angle)),
            "update_angle_median_degree": float(np.nanmedian(self.angle)),
            "update_error_largest_percent": 100 * float(np.nanmax(self.error)),
            "loss_difference_largest": float(np.abs(self.loss[1] - self.loss[0]).max()),
            "mean_loss": {name: float(v.mean()) for name, v in self._each(self.loss)},
            "wrong_percent": {
                name: 100 * float(1 - v.mean()) for name, v in self._each(self.right)
            },
        }
        if self.pulses is not None:
            found["pulses"] = {
                "sent": self.pulses.sent,
                "differing": self.pulses.differing,
                "differing_at_a_rounding_edge": self.pulses.by_one,
            }
        return found

    def tree(self) -> dict[str, Any]:
        """The branch of a record."""
        step = ("step",)
        return {
            "loss": Quantity(self.loss, "1", "of a mini-batch", ("training", *step)),
            "right": Quantity(self.right, "1", "share of right answers", ("training", *step)),
            "angle": Quantity(self.angle, "degree", "between the updates of a step", step),
            "error": Quantity(self.error, "1", "of the update, relative", step),
            "distance": Quantity(self.distance, "1", "of the weights over their change", step),
        }

    def _each(self, values: Array) -> list[tuple[str, Array]]:
        marks = ("reference: ", "other: ") if self.names[0] == self.names[1] else ("", "")
        return [(m + n, v) for m, n, v in zip(marks, self.names, values, strict=True)]


@own_settings()
def beside_figure(beside: Beside, heading: str = "") -> Figure:
    """Learning curves, distance of the weights and angle of every update, over the steps.

    Args:
        beside: the two trainings.
        heading: a line above all.
    """
    figure = new_figure(6.4, 7.2)
    headed(figure, *([heading] if heading else []))
    curves, distance, angle = figure.subplots(3, 1, sharex=True)
    steps = np.arange(1, len(beside.angle) + 1)
    for k, name in enumerate(beside.names):
        mean = _running(beside.loss[k])
        style = {
            "color": _COLOURS[k],
            "linestyle": ":" if k else "-",
            "linewidth": 1.6 + 2.4 * (not k),
        }
        curves.plot(steps, mean, label=name, **style)
    curves.legend(fontsize=8)
    distance.plot(steps, 100 * beside.distance, color=_COLOURS[1])
    angle.plot(steps, beside.angle, ".", color=_COLOURS[1], markersize=3)
    label(curves, f"loss, mean of {_MEAN} steps", "", "1")
    label(distance, "weights apart, of their change", "", "%")
    label(angle, "angle between the updates", "step", "degree")
    return figure


def _running(values: Array) -> Array:
    whole = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(whole))
    first = np.maximum(last - _MEAN, 0)
    mean: Array = (whole[last] - whole[first]) / (last - first)
    return mean


def _settings(record: Record) -> dict[str, Any]:
    if f"{KEY}/loss" not in record:
        raise UserError(
            f"{record.path}: holds no steps; a training through a realisation of a chip has them"
        )
    try:
        found = json.loads(record.text("settings"))
        return dict(found)
    except (ValueError, TypeError) as error:
        raise UserError(f"{record.path}: 'settings' is damaged: {error}") from error


def _way(settings: dict[str, Any]) -> str:
    through = settings.get("dynamics", {}).get("through")
    return str(through["name"]) if isinstance(through, dict) else "static"


def _column(record: Record, name: str) -> Array:
    return np.asarray(record.array(f"{KEY}/{name}", units="1"), dtype=np.float64)


def _layers(record: Record, kind: str) -> list[str]:
    return sorted(name for name in record.group(KEY) if name.rstrip("0123456789") == kind)


def _flat(record: Record, d: str) -> Array:
    """Weights before each step, or updates ('d'), (steps, parameters)."""
    names = [name for kind in ("W", "b") for name in _layers(record, d + kind)]
    columns = [_column(record, name) for name in names]
    return np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)


def _last(record: Record) -> Array:
    """Weights after the last step, (parameters,)."""
    names = [name for kind in ("W", "b") for name in _layers(record, kind)]
    return np.concatenate([record.array(f"network/{name}").reshape(-1) for name in names])


def _angles(a: Array, b: Array) -> Array:
    # Of normalised vectors by their difference and sum, which is exact for small angles too.
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
        apart, along = (np.linalg.norm(v, axis=1) for v in (a - b, a + b))
        angles: Array = 2 * np.arctan2(apart, along) * (180 / math.pi)
    return angles


def _pulses(reference: Record, other: Record) -> Pulses | None:
    names = [_layers(record, "pulses") for record in (reference, other)]
    if not names[0] or names[0] != names[1]:
        return None
    pairs = [(_column(reference, name), _column(other, name)) for name in names[0]]
    apart = [np.abs(b - a) for a, b in pairs]
    return Pulses(
        sum(int(np.abs(a).sum()) for a, _ in pairs),
        sum(int((d > 0).sum()) for d in apart),
        sum(int((d == 1).sum()) for d in apart),
    )
