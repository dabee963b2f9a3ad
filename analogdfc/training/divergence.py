"""Training that leaves the finite numbers: where it did, why, and what to change."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from analogdfc.dynamics import Loop
from analogdfc.errors import ConvergenceError
from analogdfc.learning import LearningRule
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.measures import condition3, slowest_eigenvalue

# Times the loss of the first mini-batch. No training that works gets there.
GROWTH = 100.0
# Samples that the loop is linearised at, and the largest system matrix whose eigenvalues are worth
# their time, some seconds a sample; above it, Condition 3 needs a matrix of n_L rows only.
_SAMPLES = 3
_LARGEST = 1200


class Divergence(ConvergenceError):
    """Training diverged. The message says where, the eigenvalue that says why, what to change.

    Args:
        at: when, for people.
        where: the parameter or signal that left the finite numbers, or grew beyond bounds.
        eigenvalue: largest real part of the control loop's eigenvalues at the last good weights,
            per tau_u; None for a rule without a loop, nan where it could not be computed.
        advice: what to change.
    """

    def __init__(self, at: str, where: str, eigenvalue: float | None, advice: str) -> None:
        self.at = at
        self.where = where
        self.eigenvalue = eigenvalue
        self.advice = advice
        where = where.rstrip(".")
        super().__init__(f"{at}: training diverged: {where}.{_mode(eigenvalue)} {advice}")


def parameters_of(rule: LearningRule) -> dict[str, nn.Parameter]:
    """All that a rule holds, by the papers' names: W1..WL, b1..bL, and the feedback's."""
    network, feedback = rule.network, rule.feedback
    out = {f"W{i}": w for i, w in enumerate(network.weights, start=1)}
    out |= {f"b{i}": b for i, b in enumerate(network.biases, start=1)}
    if feedback is not None:
        for name, parameter in feedback.named_parameters():
            stem, _, index = name.rpartition(".")
            plain = stem == "matrices" and index.isdigit()
            out[f"Q{int(index) + 1}" if plain else f"feedback {name}"] = parameter
    return out


def snapshot(rule: LearningRule) -> dict[str, Tensor]:
    """A copy of all parameters."""
    return {name: p.detach().clone() for name, p in parameters_of(rule).items()}


def finite(*tensors: Tensor) -> bool:
    """Whether all elements of all tensors are finite; a sum is the cheapest way to know."""
    return all(math.isfinite(float(t.sum())) for t in tensors)


def first_not_finite(rule: LearningRule, x: Tensor) -> str | None:
    """The first parameter, signal of the free pass or gradient that is not finite, in words."""
    for name, value in _signals(rule, x):
        if not bool(value.isfinite().all()):
            return f"{name} left the finite numbers"
    return None


def largest_parameter(rule: LearningRule) -> str:
    """The parameter with the largest element, in words."""
    sizes = {name: float(p.detach().abs().max()) for name, p in parameters_of(rule).items()}
    name = max(sizes, key=sizes.__getitem__)
    return f"{name} is the largest, up to {sizes[name]:.3g}"


def diagnose(
    rule: LearningRule, good: Mapping[str, Tensor], x: Tensor, at: str, where: str
) -> Divergence:
    """What to tell about a training that diverged.

    Args:
        rule: the rule, its parameters as they are now.
        good: the last good parameters, as `snapshot` made them.
        x: inputs at which the loop is linearised, (batch, n_0); a few of them are used.
        at: when it diverged, for people.
        where: what left the finite numbers, in words.
    """
    if not isinstance(rule, FeedbackControl):
        return Divergence(at, where, None, "Lower the learning rate.")
    eigenvalue = _eigenvalue(rule, good, x)
    if eigenvalue > 0:
        advice = (
            "Raise alpha, lower k_p, or learn the feedback weights longer before the forward "
            "weights; a lower learning rate keeps a stable loop stable."
        )
    else:
        advice = "Lower the learning rate, the target stepsize or the time step dt, or raise alpha."
    return Divergence(at, where, eigenvalue, advice)


def _signals(rule: LearningRule, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    parameters = parameters_of(rule)
    yield from parameters.items()
    with torch.no_grad():
        potentials = rule.network.potentials(x)
    for i, v in enumerate(potentials, start=1):
        yield f"the potentials v{i} of layer {i}", v
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            yield f"the update of {name}", parameter.grad


def _eigenvalue(rule: FeedbackControl, good: Mapping[str, Tensor], x: Tensor) -> float:
    """Largest real part at the free state of a few samples, per tau_u; nan if there is none."""
    healthy = copy.copy(rule)
    healthy.network = copy.deepcopy(rule.network)
    healthy.feedback = copy.deepcopy(rule.feedback)
    with torch.no_grad():
        for name, parameter in parameters_of(healthy).items():
            parameter.copy_(good[name])
        v = healthy.network.potentials(x[:_SAMPLES])
    silence = torch.zeros_like(v[-1])  # the control signal of the free state
    try:
        loop = Loop.of(healthy.network, healthy.feedback, rule.controller, rule.tau_v, rule.neuron)
        if sum(rule.network.sizes[1:]) + rule.network.sizes[-1] > _LARGEST:
            return float(condition3(loop, v, silence).max())
        unit = rule.controller.tau_u if math.isfinite(rule.controller.tau_u) else 1.0
        return float(slowest_eigenvalue(loop, v, silence).real.max()) * unit
    except ConvergenceError:
        return math.nan


def _mode(eigenvalue: float | None) -> str:
    if eigenvalue is None:
        return ""
    if math.isnan(eigenvalue):
        return " The eigenvalues of the control loop could not be computed."
    state = "unstable" if eigenvalue > 0 else "stable"
    return (
        " Slowest mode of the control loop at the last good weights: "
        f"{eigenvalue:+.3g} per tau_u ({state})."
    )
