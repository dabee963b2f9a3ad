"""Time steps of the control loop; one class a method, interchangeable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.loop import (
    Loop,
    LoopState,
    control_signal,
    derivative,
    feedforward,
    layer_inputs,
    output,
    output_slope,
    presynaptic,
)
from analogdfc.products import affine


class Integrator(ABC):
    """One step of the loop's differential equations."""

    @abstractmethod
    def step(self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float) -> LoopState:
        """Advance by dt.

        Args:
            loop: the constants of the dynamics.
            state: state at time t.
            x: input r_0, (batch, n_0).
            target: output target r_L*, (batch, n_L).
            dt: time step, > 0, in units of time of the loop.

        Returns:
            The state at t + dt.
        """

    def advance(
        self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float, steps: int
    ) -> LoopState:
        """Advance by a number of steps, without a record.

        Args:
            loop: the constants of the dynamics.
            state: state at time t.
            x: input r_0, (batch, n_0).
            target: output target r_L*, (batch, n_L).
            dt: time step, > 0, in units of time of the loop.
            steps: number of steps, >= 1.

        Returns:
            The state at t + steps * dt.
        """
        for _ in range(steps):
            state = self.step(loop, state, x, target, dt)
        return state


@dataclass(frozen=True)
class Euler(Integrator):
    """Forward Euler with the paper's modifications (Meulemans et al. 2021, Algorithm 1).

    Attributes:
        layered: each layer sees the potentials that the layer below has just reached (first
            modification; `inst_transmission` in the authors' configurations).
        proactive: the layers see the control signal of the same step (second modification;
            `proactive_controller`).

    With both off this is the textbook method, in which the error reaches the layers one step late.
    """

    layered: bool = True
    proactive: bool = True

    def step(self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float) -> LoopState:
        """Advance by dt; see `Integrator.step`."""
        controller = loop.controller
        e, slope = target - output(loop, state), output_slope(loop, state)
        leaking = controller.leaking(state.u_int, state.u)
        u_int = state.u_int + dt * controller.derivative(leaking, e)
        u = controller.output(u_int, e, slope)
        seen = presynaptic(loop, u if self.proactive else state.u)
        gain = dt / loop.tau_v
        fixed = None if self.layered else feedforward(loop, layer_inputs(loop, state.v, x))
        v: list[Tensor] = []
        r = x
        for i, (w, b, q) in enumerate(zip(loop.weights, loop.biases, loop.feedback, strict=True)):
            v_ff = affine(r, w, b) if fixed is None else fixed[i]
            drive = affine(seen[i], q, v_ff)
            v.append(torch.lerp(state.v[i], drive, gain))
            r = activate(loop.activations[i], v[i])
        return LoopState(tuple(v), u_int, u, _moved(state.r_slow, slope, dt))


@dataclass(frozen=True)
class RungeKutta4(Integrator):
    """The classical method of fourth order on the unmodified equations, for comparisons.

    Attributes:
        substeps: steps taken inside each dt, >= 1.
    """

    substeps: int = 4

    def step(self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float) -> LoopState:
        """Advance by dt; see `Integrator.step`."""
        h = dt / self.substeps
        for _ in range(self.substeps):
            k1 = derivative(loop, state, x, target)
            k2 = derivative(loop, _shifted(state, k1, h / 2), x, target)
            k3 = derivative(loop, _shifted(state, k2, h / 2), x, target)
            k4 = derivative(loop, _shifted(state, k3, h), x, target)
            for k, weight in ((k1, h / 6), (k2, h / 3), (k3, h / 3), (k4, h / 6)):
                state = _shifted(state, k, weight)
        return state._replace(u=control_signal(loop, state, target))


def _shifted(state: LoopState, slope: LoopState, h: float) -> LoopState:
    v = tuple(torch.add(a, b, alpha=h) for a, b in zip(state.v, slope.v, strict=True))
    u_int = torch.add(state.u_int, slope.u_int, alpha=h)
    return LoopState(v, u_int, state.u, _moved(state.r_slow, slope.r_slow, h))


def _moved(r_slow: Tensor | None, slope: Tensor | None, h: float) -> Tensor | None:
    return None if r_slow is None or slope is None else torch.add(r_slow, slope, alpha=h)
