"""Time steps of the control loop; one class a method, interchangeable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.dynamics.loop import Loop, LoopState, derivative, feedforward, layer_inputs, output


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
        pi = loop.controller
        e = target - output(loop, state)
        u_int = state.u_int + dt * pi.derivative(state.u, e)
        u = pi.output(u_int, e)
        feedback = u if self.proactive else state.u
        gain = dt / loop.tau_v
        fixed = None if self.layered else feedforward(loop, layer_inputs(loop, state.v, x))
        v: list[Tensor] = []
        r = x
        for i, (w, b, q) in enumerate(zip(loop.weights, loop.biases, loop.feedback, strict=True)):
            v_ff = torch.addmm(b, r, w.T) if fixed is None else fixed[i]
            drive = torch.addmm(v_ff, feedback, q.T)
            v.append(torch.lerp(state.v[i], drive, gain))
            r = loop.activations[i].function(v[i])
        return LoopState(tuple(v), u_int, u)


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
        u = loop.controller.output(state.u_int, target - output(loop, state))
        return state._replace(u=u)


def _shifted(state: LoopState, slope: LoopState, h: float) -> LoopState:
    v = tuple(torch.add(a, b, alpha=h) for a, b in zip(state.v, slope.v, strict=True))
    return LoopState(v, torch.add(state.u_int, slope.u_int, alpha=h), state.u)
