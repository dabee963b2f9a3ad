"""What the theory prescribes, to measure updates and feedback weights against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.ideal import ParameterUpdate
from analogdfc.network import Network, check_network

# Singular values of J below this share of the largest count as 0, as in `learning.ideal`.
_RANK = 1e-7


def damped_pseudoinverse(j: NDArray[Any], damping: float) -> NDArray[Any]:
    """J^T (J J^T + gamma I)^-1, and its limit J^+ without damping (Meulemans et al. 2021, eq. 14).

    Args:
        j: Jacobians, (..., n_L, n).
        damping: gamma, >= 0, in the units of J J^T.

    Returns:
        (..., n, n_L).

    Raises:
        UserError: a negative damping.
        ConvergenceError: a Jacobian is not finite.
    """
    if not damping >= 0:
        raise UserError(f"damping = {damping}: it must be >= 0")
    if not np.isfinite(j).all():
        raise ConvergenceError("the Jacobian of the output is not finite; do the weights diverge?")
    if damping == 0:
        return np.asarray(np.linalg.pinv(j, rcond=_RANK))
    gram = j @ j.swapaxes(-1, -2) + damping * np.eye(j.shape[-2])
    return np.asarray(np.linalg.solve(gram, j).swapaxes(-1, -2))


def finite_minimum_norm_update(
    network: Network, x: Tensor, error: Tensor, damping: float = 0.0
) -> ParameterUpdate:
    """Weighted MN update of the nonlinear rule with its potentials moved by a whole step.

    (phi(v_i + Delta v_i) - phi(v_i)) r_{i-1}^T with Delta v = J^+ delta_L, averaged over the batch,
    at the feedforward potentials; the reference of the published code. For a small error it is
    R D J^+ delta_L (Meulemans et al. 2021, eq. 129), which
    `analogdfc.learning.minimum_norm_update(nonlinear=True)` gives for an error of any size.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output error delta_L, (batch, n_L).
        damping: gamma, >= 0, in the units of J J^T: eq. 215 instead of eq. 214.

    Returns:
        Changes of weights and biases, without a learning rate.

    Raises:
        UserError: a negative damping.
        ConvergenceError: a Jacobian is not finite.
    """
    check_network(network)
    with torch.no_grad():
        free = network.run(x)
        j = torch.cat(network.jacobians(free.v), dim=-1)
        inverse = torch.from_numpy(damped_pseudoinverse(j.numpy(), damping))
        steps = torch.split(
            (inverse @ error.unsqueeze(-1)).squeeze(-1), list(network.sizes[1:]), dim=-1
        )
        pushed = zip(network.activations, free.v, steps, free.r[1:], strict=True)
        changes = [phi.function(vi + step) - ri for phi, vi, step, ri in pushed]
        return ParameterUpdate(
            tuple(c.T @ p / len(x) for c, p in zip(changes, free.inputs, strict=True)),
            tuple(c.mean(dim=0) for c in changes),
        )
