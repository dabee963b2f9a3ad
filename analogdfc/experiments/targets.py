"""Measures of the theory of target propagation, and the toy experiment of its figure 2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from analogdfc.datasets import Dataset, student_teacher
from analogdfc.errors import UserError
from analogdfc.learning.ideal import ParameterUpdate, backprop_update
from analogdfc.learning.targets import (
    DDTPLinear,
    DifferenceReconstruction,
    GaussNewtonTargets,
    LayerwiseReconstruction,
    LearnedTargets,
    PretrainedDTP,
    TargetRule,
    target_updates,
)
from analogdfc.learning.targets.gauss_newton import Decomposition
from analogdfc.measures import angle
from analogdfc.network import Network, check_network
from analogdfc.training import Adam, FeedbackPlan, Plan, Trainer

DAMPINGS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of lambda among which Meulemans et al. 2020 choose in Table S7."""


def sample_updates(rule: TargetRule, x: Tensor, y: Tensor, layer: int) -> Tensor:
    """What a rule would do to one layer's weights for each sample alone, without doing it.

    Args:
        rule: the rule.
        x: inputs, (batch, n_0).
        y: labels, (batch, n_L).
        layer: number of the layer, 1 to L.

    Returns:
        Delta W_i of each sample, (batch, n_i, n_{i-1}).

    Raises:
        UserError: there is no such layer.
    """
    _check_layer(rule.network, layer)
    with torch.no_grad():
        free = rule.network.run(x)
    slopes = rule.network.activations[layer - 1].derivative(free.v[layer - 1])
    change = 2 * slopes * rule.target_steps(x, y)[layer - 1]
    return change.unsqueeze(2) * free.r[layer - 1].unsqueeze(1)


def null_space_share(network: Network, x: Tensor, layer: int, updates: Tensor) -> Tensor:
    """Share of each sample's update that can't move the output (Meulemans et al. 2020, fig. 2).

    The norm of the part in the null space of dh_L / dW_i over that of the whole, to first order.
    Since dh_L / dW_i = J_i (x) h_{i-1}^T, the other part is P Delta W_i n n^T, with P the projector
    on the rows of J_i = dh_L / dv_i, and n = h_{i-1} / ||h_{i-1}||.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        layer: number of the layer, 1 to L.
        updates: Delta W_i of each sample, (batch, n_i, n_{i-1}), as of `sample_updates`.

    Returns:
        (batch,), from 0 to 1; nan where an update is 0.

    Raises:
        UserError: there is no such layer, or updates of another shape.
    """
    _check_layer(network, layer)
    wanted = (len(x), network.sizes[layer], network.sizes[layer - 1])
    if tuple(updates.shape) != wanted:
        raise UserError(f"updates {tuple(updates.shape)} of layer {layer}: {wanted} are needed")
    with torch.no_grad():
        free = network.run(x)
        jacobian = Decomposition.of(network.jacobians(free.v)[layer - 1])
    rows = jacobian.vt * jacobian.kept.unsqueeze(-1)
    below = free.r[layer - 1].double()
    unit = torch.nn.functional.normalize(below, dim=1)
    driven = (updates.double() @ unit.unsqueeze(-1)).squeeze(-1)
    seen = (rows.mT @ (rows @ driven.unsqueeze(-1))).squeeze(-1)
    hidden = updates.double() - seen.unsqueeze(2) * unit.unsqueeze(1)
    share: Tensor = hidden.flatten(1).norm(dim=1) / updates.double().flatten(1).norm(dim=1)
    return share


def output_direction(
    network: Network, x: Tensor, update: ParameterUpdate, rate: float = 1e-6
) -> Tensor:
    """Direction in which an update moves the output (Meulemans et al. 2020, fig. S2).

    Args:
        network: the network; it stays as it is.
        x: inputs, (batch, n_0).
        update: changes of the parameters.
        rate: how much of them is applied, > 0.

    Returns:
        h_L after the update less h_L before, of unit length, (batch, n_L); 0 where nothing moves.

    Raises:
        UserError: a rate that is not positive.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise UserError(f"rate = {rate}: it must be finite and > 0")
    moved = {
        f"{kind}.{i}": getattr(network, kind)[i].detach() + rate * change
        for kind, changes in update._asdict().items()
        for i, change in enumerate(changes)
    }
    with torch.no_grad():
        after: Tensor = functional_call(network, moved, (x,))
        return torch.nn.functional.normalize(after - network(x), dim=1, eps=1e-300)


@dataclass(frozen=True)
class TargetAlignment:
    """Angles of a rule's weight updates of the hidden layers, in degrees.

    Attributes:
        dampings: values of lambda.
        targets: to updates by damped Gauss-Newton targets, (L-1, dampings).
        gradient: to the negative gradient of the loss, (L-1,).
    """

    dampings: tuple[float, ...]
    targets: Tensor
    gradient: Tensor

    @property
    def best(self) -> tuple[float, ...]:
        """The damping of the least angle for each hidden layer, as in Table S7."""
        return tuple(self.dampings[int(k)] for k in self.targets.argmin(dim=1))

    @property
    def least(self) -> Tensor:
        """That angle, (L-1,)."""
        return self.targets.amin(dim=1)

    @classmethod
    def mean(cls, found: Sequence[TargetAlignment]) -> TargetAlignment:
        """The average over minibatches, as the paper's over an epoch.

        Args:
            found: one a minibatch.

        Raises:
            UserError: none at all, or different dampings.
        """
        if len({alignment.dampings for alignment in found}) != 1:
            raise UserError("the mean of alignments needs one at least, all with equal dampings")
        return cls(
            found[0].dampings,
            torch.stack([alignment.targets for alignment in found]).mean(dim=0),
            torch.stack([alignment.gradient for alignment in found]).mean(dim=0),
        )


@torch.no_grad()
def target_alignment(
    network: Network,
    x: Tensor,
    error: Tensor,
    weights: Sequence[Tensor],
    dampings: Sequence[float] = DAMPINGS,
) -> TargetAlignment:
    """Compare updates of the hidden layers' weights with those of damped Gauss-Newton targets.

    Meulemans et al. 2020, Condition S3, figs. S3 to S5 and Table S7: the references are the means
    over the minibatch of D_i J_i^T (J_i J_i^T + lambda I)^-1 e_L h_{i-1}^T.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output errors, the negative gradients of the samples' losses, (batch, n_L).
        weights: changes of W_1..W_{L-1}, (n_i, n_{i-1}); further ones are ignored.
        dampings: values of lambda, >= 0.

    Raises:
        UserError: a network without hidden layers, no or a negative damping, updates of another
            shape, or errors that don't fit.
    """
    if network.depth < 2 or not dampings or len(weights) < network.depth - 1:
        raise UserError("angles need a hidden layer, an update for each, and one damping at least")
    gradient = backprop_update(network, x, error).weights
    pulled = target_updates(network, x, error, dampings)
    rows = [[angle(p, w) for p in layer] for layer, w in zip(pulled, weights, strict=False)]
    hidden = zip(gradient[:-1], weights, strict=False)
    return TargetAlignment(
        tuple(dampings),
        torch.tensor(rows, dtype=torch.float64),
        torch.tensor([angle(g, w) for g, w in hidden], dtype=torch.float64),
    )


@dataclass(frozen=True, kw_only=True)
class NullSpaceToy:
    """Toy experiment 1 of Meulemans et al. 2020, App. B.3; what the paper leaves open is assumed.

    The forward weights stay at their random start, and the feedback learns until it is ideal for
    them.

    Attributes:
        sizes: the student's layers, tanh and a linear output.
        teacher: layers of the network that labels.
        samples: samples that the feedback learns from, and those that the updates are measured on.
        layer: whose updates are measured.
        epochs: of feedback learning.
        batch_size: of feedback learning; updates are those of single samples.
        sigma: noise of the reconstruction losses.
        rate: Adam's learning rate of the feedback.
        target_stepsize: step of the output target.
        teacher_seed: seed of the teacher and of the inputs.
    """

    sizes: tuple[int, ...] = (6, 6, 6, 2)
    teacher: tuple[int, ...] = (6, 1000, 1000, 1000, 1000, 2)
    samples: tuple[int, int] = (2000, 500)
    layer: int = 2
    epochs: int = 20
    batch_size: int = 50
    sigma: float = 0.1
    rate: float = 1e-2
    target_stepsize: float = 1e-3
    teacher_seed: int = 42

    def data(self) -> Dataset:
        """Inputs and labels."""
        learned, measured = self.samples
        return student_teacher(self.teacher, (learned, 0, measured), self.teacher_seed)

    def run(
        self, seeds: Sequence[int], progress: Callable[[int], object] | None = None
    ) -> NullSpaceShares:
        """Measure before feedback learning and after each of its epochs.

        Args:
            seeds: one network each.
            progress: called after each network with 1.

        Raises:
            UserError: no seed.
        """
        if not seeds:
            raise UserError("the toy experiment needs at least one seed")
        data, found = self.data(), []
        for seed in seeds:
            found.append(self._curves(data, seed))
            if progress is not None:
                progress(1)
        return NullSpaceShares({k: torch.stack([f[k] for f in found]) for k in found[0]})

    def _curves(self, data: Dataset, seed: int) -> dict[str, Tensor]:
        """Mean share of each rule at each epoch, (epochs + 1,)."""
        source = torch.Generator().manual_seed(seed)
        network = Network(self.sizes, generator=source)
        ideal = GaussNewtonTargets(network, target_stepsize=self.target_stepsize)
        curves = {"gnt": self._share(ideal, data).expand(self.epochs + 1)}
        losses = (LayerwiseReconstruction(self.sigma), DifferenceReconstruction(self.sigma))
        for kind, loss in zip((PretrainedDTP, DDTPLinear), losses, strict=True):
            rule = kind(
                network,
                feedback=kind.random_feedback(network, source),
                target_stepsize=self.target_stepsize,
                reconstruction=loss,
                generator=source,
            )
            name = "dtp-pretrained" if kind is PretrainedDTP else "ddtp-linear"
            curves[name] = torch.stack(self._learn(rule, data, source))
        return curves

    def _learn(self, rule: LearnedTargets, data: Dataset, source: torch.Generator) -> list[Tensor]:
        settings = Adam(lr=self.rate)
        plan = FeedbackPlan(
            optimizer=settings,
            pretraining=settings,
            pretraining_epochs=self.epochs,
            before=0,
            after=0,
            clip=None,
        )
        trainer = Trainer(
            rule, data, Plan(epochs=0, batch_size=self.batch_size, feedback=plan), generator=source
        )
        shares = [self._share(rule, data)]
        trainer.run(completed=lambda _: shares.append(self._share(rule, data)))
        return shares

    def _share(self, rule: TargetRule, data: Dataset) -> Tensor:
        updates = sample_updates(rule, data.x_test, data.y_test, self.layer)
        return null_space_share(rule.network, data.x_test, self.layer, updates).mean()


@dataclass(frozen=True)
class NullSpaceShares:
    """What the toy experiment finds.

    Attributes:
        shares: by name of the rule, mean share over the samples, (seeds, epochs + 1).
    """

    shares: Mapping[str, Tensor]

    def final(self, rule: str) -> tuple[float, float]:
        """Mean and standard deviation over the seeds, once the feedback has learned."""
        last = self.shares[rule][:, -1]
        return float(last.mean()), float(last.std(correction=0))


def _check_layer(network: Network, layer: int) -> None:
    check_network(network)
    if not 1 <= layer <= network.depth:
        raise UserError(f"layer {layer}: the network has layers 1 to {network.depth}")
