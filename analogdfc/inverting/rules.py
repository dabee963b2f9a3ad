"""The learning rules that are circuits which invert layers, by name."""

from __future__ import annotations

from collections.abc import Mapping

from analogdfc.controller import Controller, I
from analogdfc.errors import UserError
from analogdfc.feedback import FeedbackWeights
from analogdfc.learning._deltas import SequentialFeedback
from analogdfc.learning.inversion import (
    Dynamic,
    DynamicInversion,
    FastControl,
    LoopFeedback,
    RepeatedInversion,
    SingleLoopInversion,
)
from analogdfc.network import Network

__all__ = ["RULES", "USUAL", "inversion_rule"]

RULES: Mapping[str, type[Dynamic]] = {
    "di": DynamicInversion,
    "di-repeat": RepeatedInversion,
    "di-single-loop": SingleLoopInversion,
}
"""Layer pairs in sequence, repeated layers, and the single loop."""

USUAL = I(alpha=0.01)
"""Control of a layer where nothing else is said."""


def inversion_rule(
    name: str,
    network: Network,
    controller: Controller = USUAL,
    *,
    fast: FastControl | None = None,
    feedback: FeedbackWeights | None = None,
) -> Dynamic:
    """A rule on a network, with feedback that makes its loops stable.

    Args:
        name: of the rule, a key of `RULES`.
        network: the network.
        controller: the control of its layers.
        fast: that of layers that expand, instead; None for the same.
        feedback: feedback weights that the network has learned with; by default those with which
            the rule starts.

    Raises:
        UserError: an unknown rule, fast control in the single loop, or what the rule refuses.
        ConvergenceError: a loop that can't be made stable.
    """
    if name not in RULES:
        raise UserError(f"rule {name!r}: there are {', '.join(RULES)}")
    sizes = network.sizes
    expanding = [sizes[i] > sizes[i - 1] for i in range(2, network.depth + 1)]
    if fast is not None and name == "di-single-loop":
        raise UserError("fast control is for one layer at a time; the single loop has none")
    if fast is not None and not any(expanding):
        raise UserError(
            f"fast control is for layers that expand, and no layer of "
            f"{'-'.join(map(str, sizes))} above the first hidden one does"
        )
    controls = [fast if fast is not None and grows else controller for grows in expanding]
    kind = LoopFeedback if name == "di-single-loop" else SequentialFeedback
    known = feedback if type(feedback) is kind else None
    return RULES[name](network, known, controls)
