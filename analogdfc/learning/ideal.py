"""Ideal updates that the local rules are measured against: backpropagation, Gauss-Newton, MN.

All of them start from the feedforward activations r_i^- and from an output error delta_L, which
enters linearly: the negative gradient -dL/dr_L (`Loss.error`) or the target step r* - r_L.

With J_i = dr_L/dv_i, the Jacobian of the output with respect to W_i is J_i with r_{i-1}^T in a
Kronecker product (Meulemans et al. 2021, eq. 69). Its products therefore never need a matrix with
one column a weight: J_theta J_theta^T = sum_i J_i J_i^T (||r_{i-1}||^2 + 1), the 1 from the bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.linalg import solve
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.network import Forward, Network, check_network
from analogdfc.samples import check_samples


class ParameterUpdate(NamedTuple):
    """Changes of the parameters, the direction to step in, without a learning rate.

    Attributes:
        weights: Delta W_1..Delta W_L, (n_i, n_{i-1}).
        biases: Delta b_1..Delta b_L, (n_i,).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]


def backprop_update(network: Network, x: Tensor, error: Tensor) -> ParameterUpdate:
    """Backpropagation, Delta W_i = J_i^T delta_L r_{i-1}^T, averaged over the batch.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output error delta_L, (batch, n_L).

    Returns:
        With `error` the negative gradient of a loss, the negative gradient of its mean.

    Raises:
        UserError: inputs and errors that don't fit the network.
    """
    with torch.no_grad():
        free = _run(network, x, error)
        slopes = network.slopes(free.v)
        changes: list[Tensor] = []
        back = error
        for i in range(network.depth - 1, -1, -1):
            changes.append(back * slopes[i])
            back = changes[-1] @ network.weights[i]
        return _outer(changes[::-1], free, len(x))


def minimum_norm_update(
    network: Network,
    x: Tensor,
    error: Tensor,
    damping: float = 0.0,
    *,
    nonlinear: bool = False,
) -> ParameterUpdate:
    """Minimum-norm (MN) updates, R J^+ delta_L, of each sample, averaged over the batch.

    Meulemans et al. 2021, eq. 214, and with damping R J^T (J J^T + gamma I)^-1 delta_L, eq. 215:
    the least change of all potentials together that moves the linearised output by delta_L, times
    the presynaptic activation. The bias changes as the weight of an input of 1.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output error delta_L, (batch, n_L).
        damping: gamma, >= 0, in the units of J J^T.
        nonlinear: the counterpart of the nonlinear learning rule, R D J^+ delta_L (eq. 129), with
            the slopes D of the activations, instead of that of the linear one.

    Without damping, singular values of J below about 1e-7 of the largest count as 0.

    Raises:
        UserError: a negative damping, or inputs and errors that don't fit the network.
        ConvergenceError: the activations are not finite.
    """
    with torch.no_grad():
        free = _run(network, x, error)
        jacobians = [j.double() for j in network.jacobians(free.v)]
        gram = torch.stack([j @ j.mT for j in jacobians]).sum(dim=0)
        pulled = _least_squares(gram, error.double(), damping)
        changes = _transposed(jacobians, pulled, error.dtype)
        if nonlinear:
            changes = [c * d for c, d in zip(changes, network.slopes(free.v), strict=True)]
        return _outer(changes, free, len(x))


def gauss_newton_update(
    network: Network,
    x: Tensor,
    error: Tensor,
    damping: float = 0.0,
    *,
    biases: bool = True,
) -> ParameterUpdate:
    """Gauss-Newton (GN) updates with a minibatch of 1, averaged over the batch.

    J_theta^+ delta_L of each sample (Meulemans et al. 2021, eq. 216), and with damping
    J_theta^T (J_theta J_theta^T + gamma I)^-1 delta_L (eq. 217). The average is eq. 127 over B.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output error delta_L, (batch, n_L).
        damping: gamma, >= 0, in the units of J_theta J_theta^T.
        biases: theta holds weights and biases; without, the weights alone as in the paper, and
            the updates of the biases are 0.

    Without damping, singular values of J_theta below about 1e-7 of the largest count as 0.

    Raises:
        UserError: a negative damping, or inputs and errors that don't fit the network.
        ConvergenceError: the activations are not finite.
    """
    with torch.no_grad():
        free = _run(network, x, error)
        jacobians = [j.double() for j in network.jacobians(free.v)]
        # As an addition to the squared norm, a bias is an input of 1.
        norms = [ri.double().square().sum(dim=-1) + float(biases) for ri in free.inputs]
        terms = [j @ j.mT * n[:, None, None] for j, n in zip(jacobians, norms, strict=True)]
        pulled = _least_squares(torch.stack(terms).sum(dim=0), error.double(), damping)
        return _outer(_transposed(jacobians, pulled, error.dtype), free, len(x), biases=biases)


def gauss_newton_batch_update(
    network: Network,
    x: Tensor,
    error: Tensor,
    damping: float = 0.0,
    *,
    biases: bool = True,
) -> ParameterUpdate:
    """Gauss-Newton (GN) update of a whole minibatch, one least-squares problem.

    (sum_b J_b^T J_b + gamma I)^-1 sum_b J_b^T delta_b (Meulemans et al. 2021, eq. 126), with the
    limit gamma -> 0, the pseudoinverse of the stacked Jacobians (eq. 7), where damping is 0. It
    differs from the mean of the samples' updates by more than a factor, unless the batch is 1.

    Solved in its dual form, a matrix of batch * n_L rows.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output errors delta_L, (batch, n_L).
        damping: gamma, >= 0, in the units of J_theta J_theta^T.
        biases: as in `gauss_newton_update`.

    Without damping, singular values of the stacked Jacobian below about 1e-6 of the largest count
    as 0.

    Raises:
        UserError: a negative damping, or inputs and errors that don't fit the network.
        ConvergenceError: the activations are not finite.
    """
    with torch.no_grad():
        free = _run(network, x, error)
        batch, n_out = error.shape
        jacobians = [j.double() for j in network.jacobians(free.v)]
        gram = torch.zeros(batch, n_out, batch, n_out, dtype=torch.float64, device=x.device)
        for j, ri in zip(jacobians, free.inputs, strict=True):
            rows = j.flatten(0, 1)
            overlap = ri.double() @ ri.double().T + float(biases)
            gram += (rows @ rows.T).view_as(gram) * overlap[:, None, :, None]
        size = batch * n_out
        pulled = _least_squares(gram.view(size, size), error.double().flatten(), damping)
        changes = _transposed(jacobians, pulled.view(batch, n_out), error.dtype)
        return _outer(changes, free, 1, biases=biases)


def _run(network: Network, x: Tensor, error: Tensor) -> Forward:
    """The network without feedback, under inputs that fit it and an output error."""
    check_network(network)
    check_samples(network.sizes, x, error, what="output errors")
    return network.run(x)


def _least_squares(gram: Tensor, right: Tensor, damping: float) -> Tensor:
    """(G + gamma I)^-1 b, or G^+ b without damping; G = J J^T is (..., n, n), b is (..., n)."""
    if not (math.isfinite(damping) and damping >= 0):
        raise UserError(f"damping = {damping}: it must be finite and >= 0")
    if not bool(gram.isfinite().all()):
        raise ConvergenceError("the Jacobian of the output is not finite; do the weights diverge?")
    n = gram.shape[-1]
    if damping > 0:
        return solve(gram + damping * torch.eye(n, dtype=gram.dtype, device=gram.device), right)
    if gram.device.type == "cpu":
        values, vectors = map(torch.from_numpy, np.linalg.eigh(gram.numpy()))
    else:
        values, vectors = torch.linalg.eigh(gram)
    kept = values > 10 * n * torch.finfo(gram.dtype).eps * values[..., -1:]
    inverse = torch.where(kept, 1 / torch.where(kept, values, 1), 0)
    coordinates: Tensor = vectors.mT @ right.unsqueeze(-1)
    return (vectors @ (inverse.unsqueeze(-1) * coordinates)).squeeze(-1)


def _transposed(jacobians: Sequence[Tensor], pulled: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Changes of the potentials J_i^T p, (batch, n_i), for p of (batch, n_L)."""
    return [(pulled.unsqueeze(-2) @ j).squeeze(-2).to(dtype) for j in jacobians]


def _outer(
    changes: Sequence[Tensor], free: Forward, count: int, *, biases: bool = True
) -> ParameterUpdate:
    """Sums over the batch of Delta v_i r_{i-1}^T and Delta v_i, divided by the count."""
    return ParameterUpdate(
        tuple(c.T @ ri / count for c, ri in zip(changes, free.inputs, strict=True)),
        tuple(c.sum(dim=0) / count * float(biases) for c in changes),
    )
