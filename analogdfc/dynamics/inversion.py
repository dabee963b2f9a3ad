"""Control loops that invert a layer, or a stack of layers, and what they settle at.

A loop finds errors delta of the layers below such that the forward transformation turns them into
a given one, W g(delta) = target (Podlaski and Machens 2020, eqs. 5 to 14). Its controller is a
`Controller`, with the output W g(delta) in the place of the network's and e = target - W g(delta):
integral control with leak, `I(alpha)`, is the paper's eq. 8.

The paper has e = W g(delta) - target and feedback weights B that make B W negative. Here they are
Q = -B, so that a loop with Q = W^T is stable, and the paper's u is -u; delta is the same.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from analogdfc.activations import Activation, get_activation
from analogdfc.controller import Controller
from analogdfc.dynamics.abscissa import eigenvalues, spectral_abscissa
from analogdfc.dynamics.inversion_modes import Pair

State = tuple[Tensor, ...]


class InversionLoop(ABC):
    """Coupled differential equations of errors and of what controls them."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each part of the state."""

    @property
    @abstractmethod
    def places(self) -> tuple[int, ...]:
        """Where in the state the errors delta are, the lowest layer first."""

    @property
    @abstractmethod
    def linear(self) -> bool:
        """Whether all activations are the identity."""

    @property
    @abstractmethod
    def floor(self) -> float:
        """Real part of an eigenvalue that no feedback weights change, per unit of time.

        The largest one; where it isn't below 0, the loop has no steady state.
        """

    @property
    @abstractmethod
    def shapes(self) -> tuple[Activation | None, ...]:
        """The activation that each part of the state goes through; None for one that does not."""

    @abstractmethod
    def through(self, phi: Activation) -> Self:
        """The loop with another activation in the place of each.

        Args:
            phi: the activation.
        """

    def linearised(self) -> Self:
        """The loop with the identity for every activation, whose stability is looked at."""
        return self.through(get_activation("linear"))

    @abstractmethod
    def rate(self, part: int, state: State, target: Tensor) -> Tensor:
        """Rate of change of one part of the state, (batch, size), per unit of time.

        Args:
            part: which.
            state: all parts, (batch, size).
            target: the error to be reached, (batch, n_l).
        """

    def start(self, target: Tensor) -> State:
        """All parts at 0, for as many samples as there are targets."""
        return tuple(target.new_zeros(len(target), n) for n in self.sizes)

    def step(self, state: State, target: Tensor, dt: float) -> State:
        """Advance by dt; each part sees those that have just moved (Algorithms 1 to 3)."""
        for part in range(len(state)):
            moved = torch.add(state[part], self.rate(part, state, target), alpha=dt)
            state = (*state[:part], moved, *state[part + 1 :])
        return state

    def rates(self, state: State, target: Tensor) -> State:
        """Rates of change of all parts of the state."""
        return tuple(self.rate(part, state, target) for part in range(len(state)))

    def matrix(self) -> Tensor:
        """Matrix M of the linearised loop, d state / dt = M state + constant (eq. S9), (k, k).

        Differentiable with respect to the feedback weights.
        """
        unit, target = self.units()
        return torch.cat(self.linearised().rates(unit, target), dim=1).T

    def abscissa(self) -> float:
        """Largest real part of the eigenvalues of `matrix`, per unit of time; < 0 if stable."""
        return spectral_abscissa(self.matrix())

    def is_stable(self, allowed: float = 0.0) -> bool:
        """Whether `abscissa` is no larger than what is allowed.

        Args:
            allowed: the largest real part, >= 0, per unit of time.
        """
        return self.abscissa() <= allowed

    def growth(self, dt: float) -> float:
        """Largest factor by which a mode of the linearised loop grows in a step of dt."""
        unit, target = self.units()
        step = torch.cat(self.linearised().step(unit, target, dt), dim=1).T
        return float(eigenvalues(step).abs().max())

    def units(self) -> tuple[State, Tensor]:
        """One sample for each number of the state, in which that is 1 and the others 0."""
        like = self._like()
        eye = torch.eye(sum(self.sizes), dtype=like.dtype, device=like.device)
        unit: State = torch.split(eye, list(self.sizes), dim=1)
        return unit, eye.new_zeros(len(eye), self._targets())

    @abstractmethod
    def _like(self) -> Tensor:
        """A tensor of the loop's type and device."""

    @abstractmethod
    def _targets(self) -> int:
        """Neurons of the layer whose error is the target."""


@dataclass(frozen=True)
class ControllerLoop(InversionLoop):
    """A controller that drives a layer so that the layers above answer with the target.

    d delta_1/dt = -delta_1 + Q u, d delta_i/dt = -delta_i + W_i g(delta_{i-1}) for the layers in
    between, and u from e = target - W_k g(delta_{k-1}). With one matrix that is the loop of
    Algorithm 1 (eqs. 5, 8 and 14), with several the single loop of Algorithm 3.

    Attributes:
        weights: matrices of the layers that are inverted, the lowest first.
        activations: g of the layer below each of them.
        feedback: Q, (neurons of the lowest layer, neurons of the target).
        controller: makes u of e.
    """

    weights: tuple[Tensor, ...]
    activations: tuple[Activation, ...]
    feedback: Tensor
    controller: Controller

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of delta of each layer, then of u_int and of the low-passed output, where there are."""
        c = self.controller
        extra = (c.integrates + c.differentiates) * (self._targets(),)
        return (*(w.shape[1] for w in self.weights), *extra)

    @property
    def places(self) -> tuple[int, ...]:
        """See `InversionLoop`."""
        return tuple(range(len(self.weights)))

    @property
    def linear(self) -> bool:
        """See `InversionLoop`."""
        return all(phi.name == "linear" for phi in self.activations)

    @property
    def floor(self) -> float:
        """Decay of a control signal that does not pass the narrowest layer; else of delta."""
        narrowest = min(w.shape[1] for w in self.weights)
        c = self.controller
        return -c.alpha / c.tau_u if c.integrates and self._targets() > narrowest else -1.0

    @property
    def shapes(self) -> tuple[Activation | None, ...]:
        """See `InversionLoop`."""
        return (*self.activations, *(None,) * (len(self.sizes) - len(self.weights)))

    def through(self, phi: Activation) -> Self:
        """See `InversionLoop`."""
        return replace(self, activations=(phi,) * len(self.weights))

    def rate(self, part: int, state: State, target: Tensor) -> Tensor:
        """See `InversionLoop`."""
        depth, c = len(self.weights), self.controller
        if part == 0:
            return self.control(state, target) @ self.feedback.T - state[0]
        if part < depth:
            return self._forward(part - 1, state) - state[part]
        output = self._forward(depth - 1, state)
        if c.differentiates and part == len(state) - 1:
            return c.slope(output, state[-1])
        leaking = c.leaking(state[depth], self.control(state, target))
        return c.derivative(leaking, target - output)

    def abscissa(self) -> float:
        """See `InversionLoop`."""
        return super().abscissa() if self._pair is None else self._pair.abscissa()

    def is_stable(self, allowed: float = 0.0) -> bool:
        """See `InversionLoop`."""
        return super().is_stable(allowed) if self._pair is None else self._pair.is_stable(allowed)

    def growth(self, dt: float) -> float:
        """See `InversionLoop`."""
        return super().growth(dt) if self._pair is None else self._pair.growth(dt)

    @property
    def _pair(self) -> Pair | None:
        """The paper's control of a single layer, whose modes need no large matrix."""
        c = self.controller
        if len(self.weights) > 1 or not c.integrates or c.k_p > 0 or c.differentiates:
            return None
        return Pair(self.weights[0], self.feedback, 1.0, c.alpha / c.tau_u, 1 / c.tau_u)

    def _forward(self, i: int, state: State) -> Tensor:
        return self.activations[i].function(state[i]) @ self.weights[i].T

    def error(self, state: State, target: Tensor) -> Tensor:
        """What the answer of the layers above lacks of the target, (batch, n_l)."""
        return target - self._forward(len(self.weights) - 1, state)

    def control(self, state: State, target: Tensor) -> Tensor:
        """The control signal u, (batch, n_l)."""
        depth, c = len(self.weights), self.controller
        if c.integrates and c.k_p == 0 and not c.differentiates:
            return state[depth]
        output = self._forward(depth - 1, state)
        u_int = state[depth] if c.integrates else torch.zeros_like(output)
        slope = c.slope(output, state[-1]) if c.differentiates else None
        return c.output(u_int, target - output, slope)

    def _like(self) -> Tensor:
        return self.weights[0]

    def _targets(self) -> int:
        return self.weights[-1].shape[0]


@dataclass(frozen=True)
class FastLoop(InversionLoop):
    """The alternative control for expanding layers (Podlaski and Machens 2020, eqs. S1 and S2).

    d delta/dt = -alpha delta + Q (target - r), dr/dt = -r + W g(delta): the layer itself
    integrates the error, which a fast controller brings to it.

    Attributes:
        weights: W, (n_l, n_{l-1}).
        activation: g of the layer below.
        feedback: Q, (n_{l-1}, n_l).
        alpha: leak, >= 0.
    """

    weights: Tensor
    activation: Activation
    feedback: Tensor
    alpha: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of delta and of r."""
        return (self.weights.shape[1], self.weights.shape[0])

    @property
    def places(self) -> tuple[int, ...]:
        """See `InversionLoop`."""
        return (0,)

    @property
    def linear(self) -> bool:
        """See `InversionLoop`."""
        return self.activation.name == "linear"

    @property
    def floor(self) -> float:
        """Decay of errors that W doesn't see, or of a readout that Q doesn't pass on."""
        n, m = self.weights.shape
        return -self.alpha if n < m else -1.0

    @property
    def shapes(self) -> tuple[Activation | None, ...]:
        """See `InversionLoop`."""
        return self.activation, None

    def through(self, phi: Activation) -> Self:
        """See `InversionLoop`."""
        return replace(self, activation=phi)

    def rate(self, part: int, state: State, target: Tensor) -> Tensor:
        """See `InversionLoop`."""
        delta, r = state
        if part == 0:
            return (target - r) @ self.feedback.T - self.alpha * delta
        return self.activation.function(delta) @ self.weights.T - r

    def error(self, state: State, target: Tensor) -> Tensor:
        """What the readout r lacks of the target, (batch, n_l)."""
        return target - state[1]

    def control(self, state: State, target: Tensor) -> Tensor:
        """The control signal, which is the error itself."""
        return self.error(state, target)

    def abscissa(self) -> float:
        """See `InversionLoop`."""
        return self._pair.abscissa()

    def is_stable(self, allowed: float = 0.0) -> bool:
        """See `InversionLoop`."""
        return self._pair.is_stable(allowed)

    def growth(self, dt: float) -> float:
        """See `InversionLoop`."""
        return self._pair.growth(dt)

    @property
    def _pair(self) -> Pair:
        return Pair(self.weights, self.feedback, self.alpha, 1.0, 1.0)

    def _like(self) -> Tensor:
        return self.weights

    def _targets(self) -> int:
        return self.weights.shape[0]


@dataclass(frozen=True)
class ChainedLoop(InversionLoop):
    """Loops of one layer each that run at once (Algorithm 2).

    Each takes the error that the one above has reached for its target.

    Attributes:
        loops: of layers L, L - 1, .. 2.
    """

    loops: tuple[InversionLoop, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the states of the loops, one after another."""
        return tuple(n for loop in self.loops for n in loop.sizes)

    @property
    def places(self) -> tuple[int, ...]:
        """See `InversionLoop`."""
        starts = zip(self._starts[:-1], self.loops, strict=True)
        return tuple(start + loop.places[0] for start, loop in starts)[::-1]

    @property
    def linear(self) -> bool:
        """See `InversionLoop`."""
        return all(loop.linear for loop in self.loops)

    @property
    def floor(self) -> float:
        """See `InversionLoop`."""
        return max(loop.floor for loop in self.loops)

    @property
    def shapes(self) -> tuple[Activation | None, ...]:
        """See `InversionLoop`."""
        return tuple(phi for loop in self.loops for phi in loop.shapes)

    def through(self, phi: Activation) -> Self:
        """See `InversionLoop`."""
        return replace(self, loops=tuple(loop.through(phi) for loop in self.loops))

    def rate(self, part: int, state: State, target: Tensor) -> Tensor:
        """See `InversionLoop`."""
        which = self._owners[part]
        start = self._starts[which]
        return self.loops[which].rate(part - start, *self.seen_by(which, state, target))

    def seen_by(self, which: int, state: State, target: Tensor) -> tuple[State, Tensor]:
        """State and target of one of the loops.

        Args:
            which: the loop.
            state: all parts of the chain's state, (batch, size).
            target: the error to be reached, (batch, n_l).
        """
        start = self._starts[which]
        if which:
            target = state[self._starts[which - 1] + self.loops[which - 1].places[0]]
        return state[start : self._starts[which + 1]], target

    @cached_property
    def _owners(self) -> tuple[int, ...]:
        """Which loop each part of the state belongs to."""
        return tuple(k for k, loop in enumerate(self.loops) for _ in loop.sizes)

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where the state of each loop begins, and where the last one ends."""
        return tuple(itertools.accumulate((len(loop.sizes) for loop in self.loops), initial=0))

    def _like(self) -> Tensor:
        return self.loops[0]._like()

    def _targets(self) -> int:
        return self.loops[0]._targets()
