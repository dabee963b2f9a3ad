"""The coupled dynamics of network and controller, as pure functions of a small state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import Activation, activate
from analogdfc.controller import Controller
from analogdfc.dynamics.neuron import ConductanceNeuron
from analogdfc.errors import UserError
from analogdfc.feedback import Feedback, Pathway
from analogdfc.network import Forward, Network, check_network, forward_pass
from analogdfc.products import affine, multiplied

_ASKED = 32
"""Rows of a feedback matrix from which on it is asked whether it is the identity."""


class Loop(NamedTuple):
    """What the dynamics needs to know; all tensors are constant during a run.

    Attributes:
        weights: W_1..W_L, (n_i, n_{i-1}).
        biases: b_1..b_L, (n_i,).
        feedback: Q_1..Q_L, (n_i, n_L); (n_i, m_i) behind a pathway.
        activations: nonlinearities of layers 1..L.
        controller: the controller.
        tau_v: time constant of the neurons, > 0, in the controller's unit of time.
        pathway: what lies between the controller and Q_1..Q_L; None where that is nothing.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    feedback: tuple[Tensor, ...]
    activations: tuple[Activation, ...]
    controller: Controller
    tau_v: float = 0.2
    pathway: Pathway | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        feedback: Feedback,
        controller: Controller,
        tau_v: float = 0.2,
        neuron: ConductanceNeuron | None = None,
    ) -> Loop:
        """The loop of a network, its feedback pathway and its controller.

        Args:
            network: the network.
            feedback: its feedback pathway.
            controller: its controller.
            tau_v: time constant of the neurons, > 0, in the controller's unit of time.
            neuron: conductance-based neurons (App. G), whose time constant follows from tau_v; by
                default those of eq. 1. Weights and feedback are the absorbed ones either way.

        Raises:
            UserError: a time constant that isn't positive.
        """
        check_network(network)
        if not tau_v > 0:
            raise UserError(f"tau_v = {tau_v}: a time constant must be > 0")
        return cls(
            tuple(w.detach() for w in network.weights),
            tuple(b.detach() for b in network.biases),
            tuple(q.detach() for q in feedback.matrices),
            network.activations,
            controller,
            neuron.time_constant(tau_v) if neuron else tau_v,
            feedback.pathway,
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of layers 0 (the input) to L."""
        return self.weights[0].shape[1], *(len(b) for b in self.biases)


class LoopState(NamedTuple):
    """State of the control loop; tensors are (batch, n), dimensionless.

    Attributes:
        v: potentials of layers 1..L, (batch, n_i).
        u_int: integral part of the control signal, (batch, n_L).
        u: control signal, as the layers have last received it, (batch, n_L).
        r_slow: low-passed output, (batch, n_L); None where the controller has no derivative part.
    """

    v: tuple[Tensor, ...]
    u_int: Tensor
    u: Tensor
    r_slow: Tensor | None = None


def in_single(loop: Loop) -> Loop:
    """What acts on deviations from the free state, W_2..W_L and Q_1..Q_L, in single precision.

    Args:
        loop: the constants of the dynamics, with direct feedback. What no deviation passes, W_1 and
            the biases, stays as it is.
    """
    weights = (loop.weights[0], *(w.float() for w in loop.weights[1:]))
    return loop._replace(weights=weights, feedback=tuple(q.float() for q in loop.feedback))


def free_pass(loop: Loop, x: Tensor) -> Forward:
    """Layers without feedback, for inputs of shape (batch, n_0)."""
    return forward_pass(zip(loop.weights, loop.biases, loop.activations, strict=True), x)


def free_state(loop: Loop, x: Tensor) -> LoopState:
    """State without feedback: the feedforward potentials (Meulemans et al. 2021, eq. 2).

    Args:
        loop: the constants of the dynamics.
        x: inputs r_0, (batch, n_0).
    """
    free = free_pass(loop, x)
    slow = free.output.clone() if loop.controller.differentiates else None
    zero = torch.zeros_like(free.output)
    return LoopState(free.v, zero, zero.clone(), slow)


def signals(loop: Loop, v: tuple[Tensor, ...], x: Tensor) -> Forward:
    """Signals of all layers whose potentials are given.

    Args:
        loop: the constants of the dynamics.
        v: potentials of layers 1..L, (batch, n_i).
        x: inputs r_0, (batch, n_0).
    """
    inputs = layer_inputs(loop, v, x)
    last = activate(loop.activations[-1], v[-1])
    return Forward(v, feedforward(loop, inputs), (*inputs, last))


def output(loop: Loop, state: LoopState) -> Tensor:
    """Activation r_L of the output layer, (batch, n_L)."""
    return activate(loop.activations[-1], state.v[-1])


def layer_inputs(loop: Loop, v: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
    """Presynaptic activations r_0..r_{L-1}, (batch, n_i)."""
    hidden = zip(loop.activations[:-1], v[:-1], strict=True)
    return (x, *(activate(phi, vi) for phi, vi in hidden))


def feedforward(loop: Loop, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Feedforward compartments v_ff = W r + b of layers 1..L, from r_0..r_{L-1}."""
    layers = zip(loop.weights, loop.biases, inputs, strict=True)
    return tuple(affine(r, w, b) for w, b, r in layers)


def presynaptic(loop: Loop, u: Tensor) -> tuple[Tensor, ...]:
    """What Q_1..Q_L see of the control signal, (batch, m_i): u itself without a pathway."""
    if loop.pathway is None:
        return (u,) * len(loop.feedback)
    return _each(loop, loop.pathway.presynaptic(u))


def is_identity(q: Tensor, least: int = _ASKED) -> bool:
    """Whether a feedback matrix is the identity, with which nothing needs to be multiplied.

    The output layer's is, as published; of an autoencoder it would be the largest product of all.

    Args:
        q: feedback matrix Q_i, (n_i, m_i).
        least: rows below which it isn't asked, and the answer is no; by default as few as make the
            question as dear as one product.
    """
    n = len(q)
    if n < least or q.shape[1] != n:
        return False
    return bool((q.diagonal() == 1).all()) and int(torch.count_nonzero(q)) == n


def push(loop: Loop, u: Tensor) -> tuple[Tensor, ...]:
    """Feedback g_i(u) of layers 1..L, (batch, n_i) (Meulemans et al. 2021, eq. 226)."""
    sources = presynaptic(loop, u)
    return tuple(multiplied(h, q.T) for h, q in zip(sources, loop.feedback, strict=True))


def feedback_jacobians(loop: Loop, u: Tensor | None) -> tuple[Tensor, ...]:
    """Derivatives dg_i/du of the feedback (Meulemans et al. 2021, eq. 227).

    Args:
        loop: the constants of the dynamics.
        u: control signal, (batch, n_L); only a pathway needs it.

    Returns:
        One a layer: (batch, n_i, n_L), or Q_i itself, (n_i, n_L), without a pathway.

    Raises:
        UserError: a pathway, but no control signal.
    """
    if loop.pathway is None:
        return loop.feedback
    if u is None:
        raise UserError("the feedback is a network: its derivative needs the control signal u")
    inner = _each(loop, loop.pathway.jacobians(u))
    return tuple(q @ d for q, d in zip(loop.feedback, inner, strict=True))


def _each(loop: Loop, stems: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One tensor a layer, where all may share the one of a common stem."""
    return stems * (len(loop.feedback) // len(stems))


def output_slope(loop: Loop, state: LoopState) -> Tensor | None:
    """Filtered rate of change of the output, if the controller has a derivative part."""
    if state.r_slow is None:
        return None
    return loop.controller.slope(output(loop, state), state.r_slow)


def control_signal(loop: Loop, state: LoopState, target: Tensor) -> Tensor:
    """The control signal u that belongs to a state, (batch, n_L)."""
    e = target - output(loop, state)
    return loop.controller.output(state.u_int, e, output_slope(loop, state))


def derivative(loop: Loop, state: LoopState, x: Tensor, target: Tensor) -> LoopState:
    """Time derivatives of v, u_int and r_slow (Meulemans et al. 2021, eqs. 226 and 206 or 4).

    The control signal follows from the state without a delay; the `u` of the result is that signal
    itself, not its derivative.

    Args:
        loop: the constants of the dynamics.
        state: the state.
        x: inputs r_0, (batch, n_0).
        target: output target, (batch, n_L).
    """
    e = target - output(loop, state)
    slope = output_slope(loop, state)
    u = loop.controller.output(state.u_int, e, slope)
    v_ff = feedforward(loop, layer_inputs(loop, state.v, x))
    layers = zip(state.v, v_ff, push(loop, u), strict=True)
    dv = tuple((vff - v + pushed) / loop.tau_v for v, vff, pushed in layers)
    du_int = loop.controller.derivative(loop.controller.leaking(state.u_int, u), e)
    return LoopState(dv, du_int, u, slope)
