"""How the update of any learning rule lies to the ideal updates, on one network and batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.experiments.targets import output_direction
from analogdfc.learning import (
    GaussNewtonTargets,
    LearningRule,
    ParameterUpdate,
    backprop_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.targets import TargetRule
from analogdfc.losses import Loss
from analogdfc.measures import Alignment, alignment
from analogdfc.network import Network, check_network
from analogdfc.training.angles import REFERENCES

WHOLE = "all"
"""Name of the whole network among the layers '1'..'L'."""

Weights = tuple[Tensor, ...]


def update_of(rule: LearningRule, x: Tensor, y: Tensor) -> ParameterUpdate:
    """The update that a rule prescribes for a batch, per unit of its output step.

    That of a rule with an output target is divided by its stepsize, so that to first order the
    stepsize doesn't matter. The gradients of the network are afterwards what they were.

    Args:
        rule: the rule.
        x: inputs, (batch, n_0).
        y: labels, (batch, n_L).

    Raises:
        ConvergenceError: the update is not finite, or the rule's own dynamics diverge.
        UserError: what the rule refuses.
    """
    network = rule.network
    parameters = list(network.parameters())
    kept = [p.grad for p in parameters]
    scale = 1.0
    if isinstance(rule, FeedbackControl | TargetRule):
        scale = 1 / rule.target_stepsize
    try:
        for parameter in parameters:
            parameter.grad = None
        rule.backward(x, y)
        found = ParameterUpdate(
            tuple(_change(w) * scale for w in network.weights),
            tuple(_change(b) * scale for b in network.biases),
        )
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient
    if not all(bool(change.isfinite().all()) for changes in found for change in changes):
        raise ConvergenceError("the update is not finite; do the weights or the feedback diverge?")
    return found


def _change(parameter: Tensor) -> Tensor:
    """A parameter that has no gradient, such as a frozen one, stays as it is."""
    if parameter.grad is None:
        return torch.zeros_like(parameter).detach()
    return parameter.grad.detach().neg()


class _RowSpace(NamedTuple):
    """The map from the weights of one layer to the outputs of a batch, to first order.

    Attributes:
        jacobians: dr_L / dv_i of each sample, (batch, n_L, n_i).
        inputs: r_{i-1}, (batch, n_{i-1}).
        values: eigenvalues above rounding of its Gram matrix, (k,).
        vectors: their eigenvectors, (batch * n_L, k).
    """

    jacobians: Tensor
    inputs: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, jacobians: Tensor, inputs: Tensor) -> _RowSpace:
        j, r = jacobians.double(), inputs.double()
        if not bool(j.isfinite().all() and r.isfinite().all()):
            raise ConvergenceError("the output's Jacobian is not finite; do the weights diverge?")
        batch, n_out, _ = j.shape
        rows = j.flatten(0, 1)
        gram = (rows @ rows.T).view(batch, n_out, batch, n_out) * (r @ r.T)[:, None, :, None]
        square = gram.view(len(rows), len(rows)).cpu().numpy()
        values, vectors = map(torch.from_numpy, np.linalg.eigh(square))
        kept = values > 10 * len(rows) * torch.finfo(values.dtype).eps * values[-1]
        return cls(j, r, values[kept].to(j), vectors[:, kept].to(j))

    def hidden(self, change: Tensor) -> Tensor:
        """The part of a change of the weights, (n_i, n_{i-1}), that moves no output."""
        batch, n_out, _ = self.jacobians.shape
        moves = (self.jacobians @ (self.inputs @ change.T).unsqueeze(-1)).flatten()
        pulled = self.vectors @ ((self.vectors.T @ moves) / self.values)
        back = (pulled.view(batch, 1, n_out) @ self.jacobians).squeeze(1)
        return change - back.T @ self.inputs


class NullSpace:
    """Weight changes of each layer that move no output of a batch, to first order.

    A layer moves the output of sample b by J_bi Delta W_i r_{b,i-1}. The part of Delta W_i in the
    row space of this map is found through its Gram matrix, of batch * n_L rows.

    Args:
        network: the network.
        x: inputs, (batch, n_0).

    Raises:
        ConvergenceError: the activations are not finite.
    """

    def __init__(self, network: Network, x: Tensor) -> None:
        with torch.no_grad():
            free = network.run(x)
            layers = zip(network.jacobians(free.v), free.inputs, strict=True)
            self._layers = [_RowSpace.of(j, r) for j, r in layers]

    def shares(self, weights: Sequence[Tensor]) -> dict[str, float]:
        """Share of an update that moves no output of the batch.

        The norm of its part in the null space over that of the whole. For one sample it is the
        measure of Meulemans et al. 2020, fig. 2; more samples leave a smaller null space, none
        where they and the outputs determine all weights of the layer.

        Args:
            weights: Delta W_1..Delta W_L, (n_i, n_{i-1}).

        Returns:
            From 0 to 1, under '1'..'L' that of the layer, under 'all' that of all these parts
            together; nan where the update is 0.
        """
        changes = [w.detach().double() for w in weights]
        hidden = [layer.hidden(change) for layer, change in zip(self._layers, changes, strict=True)]
        parts = [float(h.square().sum()) for h in hidden]
        wholes = [float(c.square().sum()) for c in changes]
        out = {str(i): _share(*pair) for i, pair in enumerate(zip(parts, wholes, strict=True), 1)}
        return out | {WHOLE: _share(sum(parts), sum(wholes))}


def _share(part: float, whole: float) -> float:
    return math.sqrt(part / whole) if whole > 0 else math.nan


@dataclass(frozen=True)
class RuleAlignment:
    """A rule's update beside the ideal ones.

    Attributes:
        alignments: by reference, then by layer, '1'..'L' and 'all': angle and norm ratio of the
            weights, the rule's update per unit of its output step.
        dampings: damping of each reference but BP.
        null_space: see `NullSpace.shares`.
        output_angle: between the move of a sample's output, to first order, and the negative
            gradient of its loss, in degrees, mean over the batch (Meulemans et al. 2020, fig. S2);
            nan where no output moves.
    """

    alignments: Mapping[str, Mapping[str, Alignment]]
    dampings: Mapping[str, float]
    null_space: Mapping[str, float]
    output_angle: float


class Ideals:
    """The ideal updates for one network and batch, which rules are measured against.

    BP, GN and MN are for the output error e = -dL/dr_L; GNT is the update of the rule `gnt` for an
    output step of e. GN is the mean of the samples' own updates (see `gauss_newton_update`), with
    biases among its parameters.

    Args:
        network: the network; it stays as it is.
        x: inputs, (batch, n_0).
        y: labels, (batch, n_L).
        loss: the loss at the output.
        dampings: values of gamma for GN, MN and GNT, >= 0; of several, each rule is compared with
            the one that fits it best.

    Raises:
        UserError: no or a negative damping, or samples that don't fit the network.
        ConvergenceError: the activations are not finite.
    """

    def __init__(
        self, network: Network, x: Tensor, y: Tensor, loss: Loss, dampings: Sequence[float] = (0.0,)
    ) -> None:
        check_network(network)
        if not dampings:
            raise UserError("ideal updates need one damping at least")
        wanted = [(len(x), network.sizes[0]), (len(x), network.sizes[-1])]
        if [tuple(x.shape), tuple(y.shape)] != wanted or len(x) == 0:
            raise UserError(
                f"inputs {tuple(x.shape)} and labels {tuple(y.shape)} do not fit the layers "
                f"{list(network.sizes)}; one sample at least is needed"
            )
        self.network, self.x, self.y, self.loss = network, x, y, loss
        with torch.no_grad():
            self.error = loss.error(network(x), y)
        self.updates: dict[str, dict[float, Weights]] = {
            name: {d: self._ideal(name, d) for d in (dampings if name != "BP" else (0.0,))}
            for name in REFERENCES
        }
        self.null_space = NullSpace(network, x)

    def _ideal(self, name: str, damping: float) -> Weights:
        network, x, error = self.network, self.x, self.error
        if name == "BP":
            return backprop_update(network, x, error).weights
        if name == "GN":
            return gauss_newton_update(network, x, error, damping).weights
        if name == "GNT":
            rule = GaussNewtonTargets(network, self.loss, target_stepsize=1.0, damping=damping)
            return update_of(rule, x, self.y).weights
        nonlinear = name == "MN-D"
        return minimum_norm_update(network, x, error, damping, nonlinear=nonlinear).weights

    def measure(self, rule: LearningRule) -> RuleAlignment:
        """Measure a rule's update for this batch.

        Args:
            rule: a rule of this network and loss.

        Raises:
            UserError: a rule of another network, or what the rule refuses.
            ConvergenceError: the update is not finite, or the rule's own dynamics diverge.
        """
        if rule.network is not self.network:
            raise UserError("a rule can only be measured on the network of the ideal updates")
        update = update_of(rule, self.x, self.y)
        alignments: dict[str, dict[str, Alignment]] = {}
        dampings: dict[str, float] = {}
        for name, references in self.updates.items():
            found = {d: alignment(reference, update.weights) for d, reference in references.items()}
            # An update of 0 has no angle; then the first damping is as good as any.
            best = min(found, key=lambda d: _or_infinite(found[d][WHOLE].angle))
            alignments[name] = found[best]
            if name != "BP":
                dampings[name] = best
        shares = self.null_space.shares(update.weights)
        return RuleAlignment(alignments, dampings, shares, self._output_angle(update))

    def _output_angle(self, update: ParameterUpdate) -> float:
        size = math.sqrt(sum(float(c.square().sum()) for changes in update for c in changes))
        if size == 0:
            return math.nan
        moved = output_direction(self.network, self.x, update, rate=1e-6 / size)
        wanted = torch.nn.functional.normalize(self.error, dim=1)
        angles = 2 * torch.atan2((moved - wanted).norm(dim=1), (moved + wanted).norm(dim=1))
        moving = (moved.norm(dim=1) > 0) & (wanted.norm(dim=1) > 0)
        return math.degrees(float(angles[moving].mean())) if bool(moving.any()) else math.nan


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value
