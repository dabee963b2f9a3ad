"""Feedback alignment through fixed random matrices, and the reinforcement it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.learning._deltas import (
    DeltaRule,
    Dropout,
    SequentialFeedback,
    check_shapes,
    propagate,
)
from analogdfc.learning._rounding import RoundingWatch, larger
from analogdfc.learning.base import register
from analogdfc.learning.controls import ErrorDriven, ErrorDrivenOptions
from analogdfc.losses import Loss
from analogdfc.network import Network

__all__ = ["Dropout", "FeedbackAlignment", "NodePerturbation", "SequentialFeedback"]


@register(
    "fa",
    family="feedback alignment",
    feedback="sequential, fixed random",
    local="yes",
    local_time="yes, where errors have a path of their own",
    equation="delta_i = D_i B_{i+1} delta_{i+1}",
    source="Lillicrap et al. 2016, eqs. 69 to 72",
)
class FeedbackAlignment(ErrorDriven):
    """Fixed feedback from each layer's error to the layer below: delta_i = D_i B_{i+1} delta_{i+1}.

    The paper's loss is half of the squared error, the default here the whole: half of a learning
    rate of the paper makes the same steps.

    Args:
        network: the network that learns.
        feedback: B_2..B_L; by default Glorot uniform with seed 0.
        loss: the loss at the output; by default the squared error.
        options: as `ErrorDriven`.

    Raises:
        UserError: feedback matrices that do not fit the network, or as `ErrorDriven`.
    """

    feedback: SequentialFeedback

    def __init__(
        self,
        network: Network,
        feedback: SequentialFeedback | None = None,
        loss: Loss | None = None,
        **options: Unpack[ErrorDrivenOptions],
    ) -> None:
        super().__init__(network, loss, **options)
        source = torch.Generator().manual_seed(0)
        self.feedback = feedback or self.random_feedback(network, source)
        needed = [tuple(w.shape)[::-1] for w in list(network.weights)[1:]]
        check_shapes(self.feedback.matrices, needed)

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> SequentialFeedback:
        """See `LearningRule.random_feedback`."""
        return SequentialFeedback.random(network, generator)

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        return propagate(error, list(self.feedback.matrices), slopes)


@register(
    "node-perturbation",
    family="reinforcement",
    feedback="none",
    local="yes, but for a loss that all neurons are told",
    local_time="no: compares a noisy run with a free one",
    equation="delta_i = (L - L') xi_i / sigma",
    source="Lillicrap et al. 2016, fig. S1; Werfel et al. 2005",
)
class NodePerturbation(DeltaRule):
    """Correlates noise in the potentials with the change of the loss that it brings.

    delta_i = (L - L') xi_i / sigma, where L' is the sample's loss with sigma xi_i added to the
    potentials of all layers i = 1..L at once, xi_i standard normal, and L the loss without. Its
    mean over the noise goes to the negative gradient as sigma goes to 0, and its variance grows
    with the number of neurons.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
        sigma: standard deviation of the noise, in the units of the potentials, > 0.
        perturbations: draws of the noise a sample, over which the update is averaged, >= 1.
        frozen: numbers of the layers that do not learn, from 1 to L. They are perturbed as the
            others.
        generator: source of the noise, on the network's device; by default a new one with seed 0.

    Raises:
        UserError: no noise, no draw, or a frozen layer that the network does not have.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        sigma: float = 0.01,
        perturbations: int = 1,
        frozen: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(network, loss, frozen=frozen)
        if not (math.isfinite(sigma) and sigma > 0):
            raise UserError(
                f"node perturbation: sigma = {sigma}; without noise there is nothing to learn "
                "from: give a finite sigma > 0, such as 0.01"
            )
        if perturbations < 1:
            raise UserError(f"node perturbation: perturbations = {perturbations}; give at least 1")
        self.sigma = sigma
        self.perturbations = perturbations
        self.generator = generator or torch.Generator(network.weights[0].device).manual_seed(0)
        self._noise_seen = RoundingWatch("perturbations", larger(f"sigma = {sigma:g}"))

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "sigma": self.sigma,
            "perturbations": self.perturbations,
        }

    def counters(self) -> dict[str, int]:
        """Under `small_noise`, the batches whose perturbations were lost in the rounding."""
        return {**super().counters(), "small_noise": self._noise_seen.lost}

    def _count_on(self, counts: Mapping[str, int]) -> None:
        super()._count_on(counts)
        self._noise_seen.lost = counts["small_noise"]

    def notes(self) -> list[str]:
        """Perturbations that are lost in the rounding."""
        return [*super().notes(), *self._noise_seen.notes()]

    def generators(self) -> dict[str, torch.Generator]:
        """See `LearningRule.generators`."""
        return {"noise": self.generator}

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        free = self.network.run(x)
        self._noise_seen.see(self.sigma, free.output)
        loss = self.loss.value(free.output, y)
        noise = [self._noise(v) for v in free.v]
        gain = (loss - self.loss.value(self._perturbed(x, noise), y)) / self.sigma
        self._write_deltas([(gain.unsqueeze(-1) * xi).mean(dim=0) for xi in noise], free.inputs)
        return loss.mean()

    def _noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers, (perturbations, batch, n_i), for a tensor (batch, n_i)."""
        shape = (self.perturbations, *like.shape)
        return torch.randn(shape, dtype=like.dtype, device=like.device, generator=self.generator)

    def _perturbed(self, x: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Output with noise in the potentials, (perturbations, batch, n_L)."""
        r, net = x, self.network
        layers = zip(net.weights, net.biases, net.activations, noise, strict=True)
        for w, b, phi, xi in layers:
            r = phi.function(r @ w.T + b + self.sigma * xi)
        return r
