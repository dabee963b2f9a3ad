"""What nights in several realisations gave: numbers, the branch of a record, the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analogdfc.drawing import Figure, headed, new_figure, own_settings
from analogdfc.plots import label
from analogdfc.records import Quantity
from analogdfc.sleeping.night import Apart, Night

_LOOKS = {
    "ideal": ("0.75", "-", 4.0),
    "behavioural": ("#0072B2", "-", 1.6),
    "circuit": ("#D55E00", ":", 2.0),
}
_REFERENCES = ("circuit", "behavioural", "ideal")
"""What the others are measured against: the first that there is."""


@dataclass(frozen=True)
class Nights:
    """Nights of one design on the same samples with the same noise.

    Attributes:
        each: one a realisation.
    """

    each: Sequence[Night]

    @property
    def reference(self) -> Night:
        """What the others are measured against."""
        by_name = {night.name: night for night in self.each}
        return next(by_name[name] for name in _REFERENCES if name in by_name)

    @property
    def apart(self) -> list[Apart]:
        """Every other night beside the reference."""
        one = self.reference
        return [Apart.of(one, n) for n in self.each if n is not one]

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        nights = {
            n.name: {
                "condition2_before": float(n.condition2[0]),
                "condition2_after": float(n.condition2[-1]),
                **(
                    {}
                    if not len(n.measured)
                    else {
                        "condition2_measured_before": float(n.measured[0]),
                        "condition2_measured_after": float(n.measured[1]),
                    }
                ),
                "largest_feedback_weight": max(float(q[-1].abs().max()) for q in n.feedback),
                **({"devices": dict(n.written)} if n.written else {}),
            }
            for n in self.each
        }
        apart = {f"{a.other} against {a.reference}": a.numbers() for a in self.apart}
        return {"nights": nights, "comparisons": apart}

    def tree(self) -> dict[str, Any]:
        """The branch of a record."""
        out: dict[str, Any] = {}
        for night in self.each:
            what = "share of the feedback in the row space of J, mean over the samples"
            branch = {"condition2": Quantity(night.condition2.numpy(), "1", what, ("time",))}
            if len(night.measured):
                what = "the same with the J that was measured, before and after, of some samples"
                branch["condition2_measured"] = Quantity(
                    night.measured.numpy(), "1", what, ("time",)
                )
            for i, (q, dq) in enumerate(zip(night.feedback, night.updates, strict=True), start=1):
                dims = ("neuron", "output")
                branch[f"Q{i}"] = Quantity(
                    q.numpy(), "1", f"Q{i} before each step and after the last", ("time", *dims)
                )
                branch[f"dQ{i}"] = Quantity(
                    dq.numpy(), "1", f"update of Q{i} before the learning rate", ("step", *dims)
                )
            out[night.name] = branch
        for a in self.apart:
            out[f"{a.other} against {a.reference}"] = {
                "error": Quantity(a.error, "1", "of the update, relative", ("step",)),
                "angle": Quantity(a.angle, "degree", "between the updates", ("step",)),
                "distance": Quantity(
                    a.distance, "1", "of the weights over their change", ("step",)
                ),
            }
        return out


@own_settings()
def nights_figure(nights: Nights, heading: str = "") -> Figure:
    """Condition 2 over the steps, and the angle of every update to that of the reference.

    Args:
        nights: what was learned.
        heading: a line above all.
    """
    apart = nights.apart
    figure = new_figure(6.4, 5.6 if apart else 3.4)
    headed(figure, *([heading] if heading else []))
    axes = figure.subplots(2 if apart else 1, 1, sharex=True, squeeze=False)[:, 0]
    for night in nights.each:
        colour, style, width = _LOOKS[night.name]
        axes[0].plot(
            night.condition2.numpy(), style, color=colour, linewidth=width, label=night.name
        )
    axes[0].set_ylim(0, 1.03)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize=8, loc="lower right")
    label(axes[0], "Condition 2: share of Q in the row space of J", "" if apart else "step", "1")
    for one in apart:
        colour, style, width = _LOOKS[one.other]
        steps = np.arange(1, len(one.angle) + 1)
        axes[1].plot(steps, one.angle, style, color=colour, linewidth=width, label=one.other)
    if apart:
        label(axes[1], f"angle of the update to that of the {apart[0].reference}", "step", "degree")
        axes[1].legend(fontsize=8)
    return figure
