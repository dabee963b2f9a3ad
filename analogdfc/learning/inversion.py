"""Dynamic inversion, and the explicit inversions that it is compared with.

Errors are sent down through an inverse of the forward transformation, found by a control loop that
runs through the weights themselves (Podlaski and Machens 2020).

Signs. The paper propagates gradients, delta = dL/da, and has feedback weights B with which B W is
negative. Here the errors that a rule passes on are negative gradients as in all rules, and the
feedback weights are Q = -B: the paper's Tr-Init, B = -W^T, is
`SequentialFeedback.transposed(network)`, its R-Init `SequentialFeedback.random(network, generator,
spread=0.01)`. Inside the loops the errors are gradients, which matters to an activation that isn't
odd.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analogdfc.controller import Controller, I
from analogdfc.dynamics.inversion import ChainedLoop, ControllerLoop, InversionLoop
from analogdfc.dynamics.linalg import inverse, pseudo_inverse
from analogdfc.dynamics.settling import Settling, Simulation
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning._deltas import SequentialFeedback, propagate
from analogdfc.learning._inverting import (
    Control,
    FastControl,
    Inversion,
    LoopFeedback,
    Monitor,
    Watched,
    bounded,
    checked_norm,
)
from analogdfc.learning.base import register
from analogdfc.learning.controls import ErrorDriven
from analogdfc.losses import Loss
from analogdfc.network import Network, check_network

__all__ = [
    "DynamicInversion",
    "FastControl",
    "Inversion",
    "LoopFeedback",
    "Monitor",
    "NonDynamicInversion",
    "Pseudobackpropagation",
    "RepeatedInversion",
    "SingleLoopInversion",
    "linear_inverse",
]


class Dynamic(Inversion):
    """What the inversions by a simulated loop share.

    The slopes phi' don't enter: the loop inverts the activation too (section 4.2).

    Args:
        network: the network that learns.
        feedback: feedback weights; by default the transposed weights (Tr-Init).
        control: how the layers are controlled, one for all or one for each of layers 2..L; by
            default `I(alpha=0.01)`.
        loss: the loss at the output; by default the squared error.
        settling: how the steady state is found; by default `Simulation()`.
        monitor: see `Inversion`.
        max_norm: see `Inversion`.
        frozen: see `Inversion`.

    Attributes:
        residual: see `Settled`, of the last batch; the largest of its loops.

    Raises:
        UserError: an activation of a hidden layer that isn't 0 at 0, an expanding layer without
            leak, a loop that `settling` can't deal with, or as `Inversion`.
        ConvergenceError: as `Inversion`, or a loop that diverges.
    """

    def __init__(
        self,
        network: Network,
        feedback: SequentialFeedback | None = None,
        control: Control | Sequence[Control] | None = None,
        loss: Loss | None = None,
        *,
        settling: Settling | None = None,
        monitor: Monitor | None = None,
        max_norm: float = math.inf,
        frozen: Sequence[int] = (),
    ) -> None:
        check_network(network)
        self.settling = settling or Simulation()
        self.controls = _each(control or I(alpha=0.01), network.depth - 1)
        self.residual = 0.0
        for i, phi in enumerate(network.activations[:-1], start=1):
            if phi.function(torch.zeros(1)) != 0:
                raise UserError(
                    f"layer {i}: dynamic inversion needs an activation with phi(0) = 0, such as "
                    f"tanh; with {phi.name!r} hidden layers get errors even without one at the "
                    "output"
                )
        super().__init__(network, feedback, loss, monitor=monitor, max_norm=max_norm, frozen=frozen)

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "controls": self.controls,
            "settling": self.settling,
        }

    def figures(self) -> dict[str, float]:
        """With `residual`, of the last batch."""
        return {**super().figures(), "residual": self.residual}

    def loops(self) -> list[Watched]:
        """See `Inversion`."""
        layers = range(self.network.depth, 1, -1)
        return [self._layer_loop(layer, self.controls[layer - 2]) for layer in layers]

    def _accept(self, name: str, loop: InversionLoop) -> None:
        self.settling.check(loop, name)

    def _inverted(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        self.residual = 0.0
        if not self.feedback.matrices:
            return []
        return [d.neg() for d in self._settled(error.neg())]

    @abstractmethod
    def _settled(self, target: Tensor) -> list[Tensor]:
        """Gradients at layers 1..L-1 from that at the output, (batch, n_i)."""

    def _settle(self, loop: InversionLoop, target: Tensor) -> tuple[Tensor, ...]:
        found = self.settling.settle(loop, target)
        self.residual = max(self.residual, found.residual)
        return found.errors


def _each(control: Control | Sequence[Control], count: int) -> tuple[Control, ...]:
    if isinstance(control, Controller | FastControl):
        return (control,) * count
    if len(control) != count:
        raise UserError(f"{len(control)} controls; give one for all, or one for each of {count}")
    return tuple(control)


@register(
    "di",
    family="dynamic inversion",
    feedback="sequential, fixed but for stabilisation",
    local="yes",
    local_time="at steady state, one layer after another",
    equation="d delta_i/dt = Q u - delta_i, du/dt = delta_{i+1} - W g(delta_i) - alpha u",
    source="Podlaski and Machens 2020, Algorithm 1",
)
class DynamicInversion(Dynamic):
    """Inverts one layer after another, from the output down (Algorithm 1)."""

    def _settled(self, target: Tensor) -> list[Tensor]:
        out: list[Tensor] = []
        for watched in self.loops():
            (target,) = self._settle(watched.loop, target)
            out.append(target)
        return out[::-1]


@register(
    "di-repeat",
    family="dynamic inversion",
    feedback="sequential, fixed but for stabilisation",
    local="yes",
    local_time="at steady state, all layers at once",
    equation="d delta_i/dt = Q u - delta_i, du/dt = delta_{i+1}(t) - W g(delta_i) - alpha u",
    source="Podlaski and Machens 2020, Algorithm 2",
)
class RepeatedInversion(Dynamic):
    """Inverts all layers at once, each with a second population that controls (Algorithm 2).

    Each layer takes the error that the one above has reached so far. At rest that is what
    `DynamicInversion` gives.
    """

    def _settled(self, target: Tensor) -> list[Tensor]:
        return list(self._settle(ChainedLoop(tuple(w.loop for w in self.loops())), target))


@register(
    "di-single-loop",
    family="dynamic inversion",
    feedback="from the output to layer 1, fixed but for stabilisation",
    local="yes",
    local_time="at steady state, one loop",
    equation="d delta_1/dt = Q u - delta_1, du/dt = delta_L - W_L g(delta_{L-1}) - alpha u",
    source="Podlaski and Machens 2020, Algorithm 3",
)
class SingleLoopInversion(Dynamic):
    """Inverts all layers by one loop from the output to the first hidden layer (Algorithm 3).

    Its feedback is a `LoopFeedback`, by default the transposed product of the weights, and all of
    it has one controller; see `Dynamic` for the rest. Over two hidden layers or more
    that start (Tr-Init) is mostly unstable; `monitor` then changes it, and `notes` says so.
    """

    def _initial(self) -> SequentialFeedback:
        return LoopFeedback.transposed(self.network)

    def loops(self) -> list[Watched]:
        """See `Inversion`."""
        if not self.feedback.matrices:
            return []
        control, (q,) = self.controls[0], self.feedback.matrices
        if isinstance(control, FastControl) or set(self.controls) != {control}:
            raise UserError("the single loop needs one Controller; FastControl is for one layer")
        weights = tuple(w.detach() for w in list(self.network.weights)[1:])
        activations = self.network.activations[:-1]
        return [Watched("the loop", ControllerLoop(weights, activations, q.detach(), control), q)]

    def _settled(self, target: Tensor) -> list[Tensor]:
        (watched,) = self.loops()
        return list(self._settle(watched.loop, target))


@register(
    "ndi",
    family="dynamic inversion",
    feedback="sequential, fixed but for stabilisation",
    local="no: inverts matrices",
    local_time="no: the steady state in closed form",
    equation="delta_i = D_i Q (W Q + alpha I)^-1 delta_{i+1}",
    source="Podlaski and Machens 2020, Algorithm 4, eq. 10",
)
class NonDynamicInversion(Inversion):
    """The steady state of the linear loop, in closed form, times the slopes of the activations.

    delta_i = D_i Q (W Q + alpha I)^-1 delta_{i+1} where layer i + 1 is no larger than layer i, and
    D_i (Q W + alpha I)^-1 Q delta_{i+1} where it is: there the loop that is watched is that of
    eqs. S1 and S2.

    Args:
        network: the network that learns.
        feedback: Q_2..Q_L; by default the transposed weights (Tr-Init).
        alpha: leak, >= 0.
        loss: see `Inversion`.
        monitor: see `Inversion`.
        max_norm: see `Inversion`.
        frozen: see `Inversion`.

    Raises:
        UserError: a leak out of range, or as `Inversion`.
        ConvergenceError: a matrix is singular, or as `Inversion`.
    """

    def __init__(
        self,
        network: Network,
        feedback: SequentialFeedback | None = None,
        alpha: float = 0.01,
        loss: Loss | None = None,
        *,
        monitor: Monitor | None = None,
        max_norm: float = math.inf,
        frozen: Sequence[int] = (),
    ) -> None:
        self.alpha = alpha
        super().__init__(network, feedback, loss, monitor=monitor, max_norm=max_norm, frozen=frozen)

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "alpha": self.alpha,
        }

    def loops(self) -> list[Watched]:
        """See `Inversion`."""
        out: list[Watched] = []
        for layer in range(self.network.depth, 1, -1):
            expands = self.network.sizes[layer] > self.network.sizes[layer - 1]
            control = FastControl(self.alpha) if expands else I(alpha=self.alpha)
            out.append(self._layer_loop(layer, control))
        return out

    def _inverted(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        weights = [w.detach() for w in list(self.network.weights)[1:]]
        pairs = zip(weights, self.feedback.matrices, strict=True)
        inverses = []
        for layer, (w, q) in enumerate(pairs, start=2):
            try:
                inverses.append(linear_inverse(w, q.detach(), self.alpha))
            except ConvergenceError as singular:
                raise ConvergenceError(
                    f"layer {layer}: W Q + alpha I is singular; raise the leak alpha"
                ) from singular
        return propagate(error, inverses, slopes)


def linear_inverse(w: Tensor, q: Tensor, alpha: float) -> Tensor:
    """What a linear loop makes of an error at rest (Podlaski and Machens 2020, eq. 10).

    Args:
        w: forward weights W, (n, m).
        q: feedback weights Q = -B, (m, n).
        alpha: leak, >= 0.

    Returns:
        Q (W Q + alpha I)^-1 or, for n > m, (Q W + alpha I)^-1 Q, (m, n): the same for alpha > 0.

    Raises:
        ConvergenceError: a singular matrix.
    """
    n, m = w.shape
    eye = torch.eye(min(n, m), dtype=w.dtype, device=w.device)
    if n > m:
        return inverse(q @ w + alpha * eye) @ q
    return q @ inverse(w @ q + alpha * eye)


@register(
    "pbp",
    family="dynamic inversion",
    feedback="the pseudo-inverses of the weights",
    local="no: inverts matrices",
    local_time="yes, where errors have a path of their own",
    equation="delta_i = D_i W_{i+1}^+ delta_{i+1}",
    source="Lillicrap et al. 2016, note 15; Podlaski and Machens 2020, Algorithm 4",
)
class Pseudobackpropagation(ErrorDriven):
    """The pseudo-inverses of the weights for their transposes: delta_i = D_i W_{i+1}^+ delta_{i+1}.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
        max_norm: bound on the norm of each sample's hidden errors, > 0; by default none.
        frozen: numbers of the layers that do not learn; see `DeltaRule`.

    Raises:
        UserError: a bound out of range, or as `ErrorDriven`.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        max_norm: float = math.inf,
        frozen: Sequence[int] = (),
    ) -> None:
        super().__init__(network, loss, frozen=frozen)
        self.max_norm = checked_norm(max_norm)

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "max_norm": self.max_norm,
        }

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        inverses = [pseudo_inverse(w) for w in list(self.network.weights)[1:]]
        return bounded(propagate(error, inverses, slopes), self.max_norm)
