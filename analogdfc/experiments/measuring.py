"""Measures of one minibatch during learning (Meulemans et al. 2021, App. F.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.controller import PI
from analogdfc.dynamics import Loop
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.steady import newton
from analogdfc.experiments.reference import finite_minimum_norm_update
from analogdfc.learning import (
    AnalyticDFC,
    DirectFeedbackAlignment,
    backprop_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.measures import (
    alignment,
    condition1,
    condition2,
    condition3,
    slowest_eigenvalue,
)

Measurement = dict[str, float]

NAMES: dict[str, tuple[str, str]] = {
    "condition1": ("1", "std of the layers' activation norms over their mean"),
    "condition2": ("1", "share of Q in the row space of J"),
    "mn_angle": ("degree", "angle to the weighted minimum-norm update"),
    "gn_angle": ("degree", "angle to the Gauss-Newton update"),
    "ssa_angle": ("degree", "angle to the dfc-ssa update"),
    "condition3_mean": ("1/tau_u", "largest Re of the eigenvalues of -(J Q + alpha I), mean"),
    "condition3_max": ("1/tau_u", "the same, largest of the minibatch"),
    "a_pi_mean": ("1/tau_u", "largest Re of the eigenvalues of A_PI, mean of the minibatch"),
    "a_pi_max": ("1/tau_u", "the same, largest of the minibatch"),
    "a_i_mean": ("1/tau_u", "largest Re of the eigenvalues of A_PI with k_p = 0, mean"),
    "a_i_max": ("1/tau_u", "the same, largest of the minibatch"),
    "at_rest": ("1", "share of the minibatch whose steady state Newton's method found"),
}


def measure(
    rule: FeedbackControl | DirectFeedbackAlignment,
    x: Tensor,
    y: Tensor,
    damping: float,
    *,
    spectra: bool,
) -> Measurement:
    """Measure a rule's last update, and the state that the network is in.

    Angles are between the weights of all layers together; ratios and eigenvalues are means over
    the minibatch. The references take a unit step along the gradient of the loss averaged over
    batch and outputs, as the published code does.

    Args:
        rule: the rule, with its update in `.grad`; it stays there.
        x: inputs of the minibatch.
        y: its labels.
        damping: gamma of the references; 0 for the paper's undamped pseudoinverses.
        spectra: measure the eigenvalues at the steady state too; DFA has none.

    Returns:
        Values by the names of `NAMES`; a rule without a controller lacks those that need one.

    Raises:
        ConvergenceError: activations or weights are not finite.
    """
    network = rule.network
    update = [-w.grad for w in network.weights if w.grad is not None]
    with torch.no_grad():
        free = network.run(x)
        error = rule.loss.error(free.output, y) / y.numel()
        feedback = list(rule.feedback.matrices)
        found = {
            "condition1": float(condition1(free.inputs).mean()),
            "condition2": float(condition2(network.jacobians(free.v), feedback).mean()),
            "mn_angle": _angle(
                finite_minimum_norm_update(network, x, error, damping).weights, update
            ),
            "gn_angle": _angle(
                gauss_newton_update(network, x, error, damping, biases=False).weights, update
            ),
        }
    if isinstance(rule, FeedbackControl):
        found["ssa_angle"] = _angle(_analytic(rule, x, y), update)
        if spectra:
            found |= _spectra(rule, x, y)
    return found


LAYER_REFERENCES = {
    "bp": "negative gradient of the loss",
    "mn": "minimum-norm update of the nonlinear rule",
    "mn-linear": "minimum-norm update of the linear rule",
    "gn": "Gauss-Newton update",
}
"""What the angles of single layers are taken to."""


def names(depth: int) -> dict[str, tuple[str, str]]:
    """Unit and description of everything that can be measured, the angles of layers last.

    Args:
        depth: number of layers.
    """
    layers = {
        f"{key}_layer{i}": ("degree", f"angle of W{i}'s update to the {what}")
        for key, what in LAYER_REFERENCES.items()
        for i in range(1, depth + 1)
    }
    return NAMES | layers


def layer_angles(
    rule: FeedbackControl | DirectFeedbackAlignment, x: Tensor, y: Tensor, damping: float
) -> Measurement:
    """Angles of a rule's last update, layer by layer, to those of `LAYER_REFERENCES`.

    Args:
        rule: the rule, with its update in `.grad`; it stays there.
        x: inputs of the minibatch.
        y: its labels.
        damping: gamma of the references.

    Raises:
        ConvergenceError: activations or weights are not finite.
    """
    network = rule.network
    update = [-w.grad for w in network.weights if w.grad is not None]
    with torch.no_grad():
        error = rule.loss.error(network(x), y) / y.numel()
        references = {
            "bp": backprop_update(network, x, error).weights,
            "mn": finite_minimum_norm_update(network, x, error, damping).weights,
            "mn-linear": minimum_norm_update(network, x, error, damping).weights,
            "gn": gauss_newton_update(network, x, error, damping, biases=False).weights,
        }
    return {
        f"{key}_layer{layer}": found.angle
        for key, weights in references.items()
        for layer, found in alignment(weights, update).items()
        if layer != "all"
    }


def _angle(reference: Sequence[Tensor], update: Sequence[Tensor]) -> float:
    return alignment(reference, update)["all"].angle


def _analytic(rule: FeedbackControl, x: Tensor, y: Tensor) -> list[Tensor]:
    """Update of dfc-ssa at the same weights; the gradients in place stay as they are."""
    parameters = list(rule.network.parameters())
    kept = [p.grad for p in parameters]
    AnalyticDFC(
        rule.network,
        rule.feedback,
        rule.controller,
        target_stepsize=rule.target_stepsize,
        loss=rule.loss,
        nonlinear=rule.nonlinear,
    ).backward(x, y)
    found = [-w.grad for w in rule.network.weights if w.grad is not None]
    for parameter, gradient in zip(parameters, kept, strict=True):
        parameter.grad = gradient
    return found


def _spectra(rule: FeedbackControl, x: Tensor, y: Tensor) -> Measurement:
    """Largest real parts at the steady states, stable or not, of the samples that have one."""
    loop = Loop.of(rule.network, rule.feedback, rule.controller, rule.tau_v)
    with torch.no_grad():
        free = free_pass(loop, x)
        target = rule.loss.target(free.output, y, rule.target_stepsize)
        # Whether a loop is stable there is what is asked, so a root will do that it leaves.
        state = newton(loop, free, target)
        v = tuple(vi[state.converged] for vi in state.layers.v)
        found = {"at_rest": float(state.converged.double().mean())}
        if found["at_rest"] == 0:
            names = ("condition3", "a_pi", "a_i")
            return found | {f"{n}_{of}": math.nan for n in names for of in ("mean", "max")}
        integral = loop._replace(controller=PI(0.0, loop.controller.alpha, loop.controller.tau_u))
        values = {
            "condition3": condition3(loop, v),
            "a_pi": slowest_eigenvalue(loop, v).real,
            "a_i": slowest_eigenvalue(integral, v).real,
        }
    for name, parts in values.items():
        found[f"{name}_mean"], found[f"{name}_max"] = float(parts.mean()), float(parts.max())
    return found
