"""The coupled dynamics of network and controller, as pure functions of a small state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import Activation
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network


class Loop(NamedTuple):
    """What the dynamics needs to know; all tensors are constant during a run.

    Attributes:
        weights: W_1..W_L, (n_i, n_{i-1}).
        biases: b_1..b_L, (n_i,).
        feedback: Q_1..Q_L, (n_i, n_L).
        activations: nonlinearities of layers 1..L.
        controller: the controller.
        tau_v: time constant of the neurons, > 0, in the controller's unit of time.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    feedback: tuple[Tensor, ...]
    activations: tuple[Activation, ...]
    controller: PI
    tau_v: float = 0.2

    @classmethod
    def of(
        cls, network: Network, feedback: DirectFeedback, controller: PI, tau_v: float = 0.2
    ) -> Loop:
        """The loop of a network, its feedback pathway and its controller."""
        if not tau_v > 0:
            raise UserError(f"tau_v = {tau_v}: a time constant must be > 0")
        return cls(
            tuple(w.detach() for w in network.weights),
            tuple(b.detach() for b in network.biases),
            tuple(q.detach() for q in feedback.matrices),
            network.activations,
            controller,
            tau_v,
        )


class LoopState(NamedTuple):
    """State of the control loop; tensors are (batch, n), dimensionless.

    Attributes:
        v: potentials of layers 1..L.
        u_int: integral part of the control signal.
        u: control signal, as the layers have last received it.
    """

    v: tuple[Tensor, ...]
    u_int: Tensor
    u: Tensor


def free_state(loop: Loop, x: Tensor) -> LoopState:
    """State without feedback: the feedforward potentials (Meulemans et al. 2021, eq. 2)."""
    v: list[Tensor] = []
    r = x
    for w, b, phi in zip(loop.weights, loop.biases, loop.activations, strict=True):
        v.append(torch.addmm(b, r, w.T))
        r = phi.function(v[-1])
    return LoopState(tuple(v), torch.zeros_like(v[-1]), torch.zeros_like(v[-1]))


def output(loop: Loop, state: LoopState) -> Tensor:
    """Activation r_L of the output layer, (batch, n_L)."""
    return loop.activations[-1].function(state.v[-1])


def layer_inputs(loop: Loop, v: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
    """Presynaptic activations r_0..r_{L-1}, (batch, n_i)."""
    hidden = zip(loop.activations[:-1], v[:-1], strict=True)
    return (x, *(phi.function(vi) for phi, vi in hidden))


def feedforward(loop: Loop, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Feedforward compartments v_ff = W r + b of layers 1..L, from r_0..r_{L-1}."""
    layers = zip(loop.weights, loop.biases, inputs, strict=True)
    return tuple(torch.addmm(b, r, w.T) for w, b, r in layers)


def derivative(loop: Loop, state: LoopState, x: Tensor, target: Tensor) -> LoopState:
    """Time derivatives of v and u_int (Meulemans et al. 2021, eqs. 1 and 206).

    The control signal follows from v and u_int without a delay; the `u` of the result is that
    signal itself, not its derivative.
    """
    e = target - output(loop, state)
    u = loop.controller.output(state.u_int, e)
    v_ff = feedforward(loop, layer_inputs(loop, state.v, x))
    layers = zip(state.v, v_ff, loop.feedback, strict=True)
    dv = tuple((vff - v + u @ q.T) / loop.tau_v for v, vff, q in layers)
    return LoopState(dv, loop.controller.derivative(u, e), u)
