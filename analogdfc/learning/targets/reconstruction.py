"""Reconstruction losses that train the feedback of targets, with their gradients in closed form.

All of them corrupt the activity of a hidden layer by noise, send it forwards and back again through
g_i, and compare what returns with what was sent. Only the synapses of g_i itself follow the loss of
layer i, so its gradient is an outer product of the residual and the presynaptic activity
(Meulemans et al. 2020, eq. 76), and no graph is needed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from analogdfc.errors import UserError
from analogdfc.learning.targets.base import slope
from analogdfc.learning.targets.pathways import LayerwiseFeedback, Synapses, TargetFeedback
from analogdfc.network import Forward, Network

# The published code of DTP divides by the square of the noise, but never by less than this.
_LEAST_SIGMA = 0.02


class Term(NamedTuple):
    """One term of a reconstruction loss, weight / B sum_b ||t(a~) - t(a) - goal||^2.

    Attributes:
        k: index of the hidden layer, from 0.
        noisy: synapses with the noisy signal, for a~.
        free: synapses in the free state, for a; None leaves t(a) out.
        goal: (batch, n_i).
        weight: factor.
    """

    k: int
    noisy: Synapses
    free: Synapses | None
    goal: Tensor
    weight: float


@dataclass(frozen=True)
class Reconstruction(ABC):
    """A reconstruction loss, summed over the hidden layers, with decay of the weights.

    The loss of layer i is scale / B sum_b ||...||^2 + weight_decay ||Q_i||_F^2 (eq. 75), so that
    `weight_decay` is the damping lambda of eq. 11 where the feedback is direct and linear and the
    scale is 1 / sigma^2. An optimiser that adds w Q to the gradient, as the published experiments
    do with their wd_fb, is `weight_decay` = w / 2, but for the offsets, which don't decay here.

    Attributes:
        sigma: standard deviation of the noise.
        weight_decay: lambda, >= 0; decay of Q_i and of S_i.
        scale: factor of the loss, > 0; by default that of the published code, as a function of
            sigma. That code also averages over the batch, as this does.

    Raises:
        UserError: a value outside its range.
    """

    sigma: float = 0.1
    weight_decay: float = 0.0
    scale: float | None = None

    needs_noise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UserError(f"reconstruction loss: {field.name} = {value}: it must be >= 0")
        if self.scale == 0:
            raise UserError("reconstruction loss: scale = 0: it must be > 0")
        if self.needs_noise and self.sigma == 0:
            raise UserError(
                "sigma = 0: without noise this reconstruction loss is 0 whatever the feedback; "
                "the published experiments take 0.001 to 0.3"
            )

    def check(self, feedback: TargetFeedback) -> None:  # noqa: B027 -- most train any pathway
        """Make sure that this loss can train a pathway.

        Raises:
            UserError: it can't.
        """

    @property
    def factor(self) -> float:
        """The scale in use."""
        return self._published_scale() if self.scale is None else self.scale

    @abstractmethod
    def _published_scale(self) -> float:
        """The published code's scale."""

    @abstractmethod
    def terms(
        self,
        network: Network,
        feedback: TargetFeedback,
        free: Forward,
        synapses: Sequence[Synapses],
        generator: torch.Generator,
    ) -> Iterator[Term]:
        """The terms of the loss, drawn anew; layer 1 first draws its noise.

        Args:
            network: the network.
            feedback: its feedback of targets.
            free: the forward pass.
            synapses: of the feedback in the free state.
            generator: source of the noise, on the device of the activity.
        """

    @torch.no_grad()
    def backward(
        self,
        network: Network,
        feedback: TargetFeedback,
        free: Forward,
        synapses: Sequence[Synapses],
        generator: torch.Generator,
    ) -> None:
        """Fill `.grad` of the feedback's parameters; arguments as of `terms`."""
        decay = 2 * self.weight_decay
        feedback.zero_grad()
        for term in self.terms(network, feedback, free, synapses, generator):
            _add_gradient(feedback, free, term, decay)


@dataclass(frozen=True)
class LayerwiseReconstruction(Reconstruction):
    """Each pair g_i, f_{i+1} reconstructs layer i's noisy activity (eq. 39 and Algorithm 1).

    ||g_i(f_{i+1}(h~_i)) - h~_i||^2 with h~_i = h_i + sigma epsilon. Published scale:
    1 / max(sigma, 0.02)^2. It works without noise too (eq. 4).
    """

    def check(self, feedback: TargetFeedback) -> None:
        """See `Reconstruction.check`."""
        if not isinstance(feedback, LayerwiseFeedback):
            raise UserError(
                "layerwise reconstruction needs feedback from layer to layer, as of dtp; feedback "
                "from the output learns by the difference or the loop reconstruction"
            )

    def _published_scale(self) -> float:
        return 1 / max(self.sigma, _LEAST_SIGMA) ** 2

    def terms(
        self,
        network: Network,
        feedback: TargetFeedback,
        free: Forward,
        synapses: Sequence[Synapses],
        generator: torch.Generator,
    ) -> Iterator[Term]:
        """See `Reconstruction.terms`."""
        for k, h in enumerate(free.r[1:-1]):
            corrupted = h + noise_like(h, self.sigma, generator)
            p = _layer(network, k + 1, corrupted)
            yield Term(k, feedback.synapses(k, p, h), None, corrupted, self.factor)


@dataclass(frozen=True)
class LoopReconstruction(Reconstruction):
    """A loop through the output without the difference correction (Algorithm 5, DDTP-control).

    ||g_i(h~_L) - h~_i||^2 with h~_L the output that h~_i = h_i + sigma epsilon leads to. Published
    scale: 1. It works without noise too.
    """

    def _published_scale(self) -> float:
        return 1.0

    def terms(
        self,
        network: Network,
        feedback: TargetFeedback,
        free: Forward,
        synapses: Sequence[Synapses],
        generator: torch.Generator,
    ) -> Iterator[Term]:
        """See `Reconstruction.terms`."""
        noise, outputs = corrupted_outputs(network, free.r, self.sigma, generator)
        for k, noisy in feedback.returned(free.r, synapses, outputs):
            yield Term(k, noisy, None, free.r[k + 1] + noise[k], self.factor)


@dataclass(frozen=True)
class DifferenceReconstruction(Reconstruction):
    """The difference reconstruction loss, DRL (Meulemans et al. 2020, eq. 9).

    ||g_diff_i(h~_L) - h~_i||^2 with h~_L the output that h~_i = h_i + sigma epsilon leads to, and
    the difference correction on the whole way back. Published scale: 1 / sigma^2. As sigma -> 0,
    the Jacobian of the way back goes to J^T (J J^T + lambda I)^-1 (Theorem 4).

    Attributes:
        damping: lambda of eq. 9 as it stands there: a second noise at the output comes back as
            nothing, at this weight. The experiments take `weight_decay` in its place.

    Raises:
        UserError: sigma = 0, or another value outside its range.
    """

    damping: float = 0.0

    needs_noise: ClassVar[bool] = True

    def _published_scale(self) -> float:
        return 1 / self.sigma**2

    def terms(
        self,
        network: Network,
        feedback: TargetFeedback,
        free: Forward,
        synapses: Sequence[Synapses],
        generator: torch.Generator,
    ) -> Iterator[Term]:
        """See `Reconstruction.terms`; the second noise is drawn last."""
        noise, outputs = corrupted_outputs(network, free.r, self.sigma, generator)
        for k, noisy in feedback.returned(free.r, synapses, outputs):
            yield Term(k, noisy, synapses[k], noise[k], self.factor)
        if self.damping > 0:
            last = free.output
            moved = last + noise_like(last, self.sigma, generator)
            outputs = moved.expand(len(noise), *moved.shape)
            for k, noisy in feedback.returned(free.r, synapses, outputs):
                goal = torch.zeros_like(noise[k])
                yield Term(k, noisy, synapses[k], goal, self.factor * self.damping)


def noise_like(h: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """White Gaussian noise of standard deviation sigma, shaped as h.

    It is drawn in single precision, since it needs no more digits and comes five times faster.
    """
    drawn = torch.randn(h.shape, dtype=torch.float32, device=h.device, generator=generator)
    return drawn.to(h.dtype).mul_(sigma)


def corrupted_outputs(
    network: Network, h: Sequence[Tensor], sigma: float, generator: torch.Generator
) -> tuple[list[Tensor], Tensor]:
    """Outputs of the network with one hidden layer noisy at a time, f_{i,L}(h_i + sigma epsilon).

    Args:
        network: the network.
        h: free activations h_0..h_L, (batch, n_i).
        sigma: standard deviation of the noise.
        generator: its source, on the device of h; layer 1 draws first.

    Returns:
        The noise of layers 1..L-1, (batch, n_i), and their outputs, (L-1, batch, n_L).
    """
    noise: list[Tensor] = []
    stack: Tensor | None = None
    # All layers' corrupted activities go up together, each from the layer where it starts.
    for i, hi in enumerate(h[1:-1], start=1):
        noise.append(noise_like(hi, sigma, generator))
        corrupted = hi + noise[-1]
        stack = corrupted if stack is None else torch.cat([stack, corrupted])
        stack = _layer(network, i, stack)
    assert stack is not None, "a pathway exists only with hidden layers"
    return noise, stack.view(len(noise), -1, stack.shape[1])


def _layer(network: Network, index: int, h: Tensor) -> Tensor:
    """f_{index + 1}(h), (rows, n), of activity in the layer below."""
    v = linear(h, network.weights[index], network.biases[index])
    return network.activations[index].function(v)


def _add_gradient(feedback: TargetFeedback, free: Forward, term: Term, decay: float) -> None:
    """Add a term's gradient with respect to Q_i, c_i and S_i to their `.grad`.

    The first term of a layer brings the gradient of the decay along, decay Q_i and decay S_i.
    """
    k, noisy, base = term.k, term.noisy, term.free
    t, c, s = feedback.activations[k], feedback.offsets[k], feedback.recurrent(k)
    residual = noisy.g - term.goal
    if base is not None:
        residual -= base.g
    residual *= 2 * term.weight / len(residual)
    delta = slope(t, noisy.a, noisy.g).mul_(residual)
    _accumulate(feedback.matrices[k], delta, noisy.p, decay)
    if base is not None:
        correction = slope(t, base.a, base.g).mul_(residual).neg_()
        _accumulate(feedback.matrices[k], correction, base.p, decay)
        delta += correction
    c.grad = delta.sum(dim=0) if c.grad is None else c.grad + delta.sum(dim=0)
    if s is not None:
        _accumulate(s, delta, free.r[k + 1], decay)


def _accumulate(parameter: nn.Parameter, delta: Tensor, p: Tensor, decay: float) -> None:
    """Add delta^T p to the gradient, or start it with the decay."""
    if parameter.grad is None:
        parameter.grad = torch.addmm(parameter.detach(), delta.T, p, beta=decay)
    else:
        parameter.grad.addmm_(delta.T, p)
