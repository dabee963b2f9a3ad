"""Ideal targets, by Gauss-Newton on the activations: what learned feedback approximates."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.linalg import solve
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.base import register
from analogdfc.learning.targets.base import FAMILY, TargetRule
from analogdfc.losses import Loss
from analogdfc.network import Forward, Network


class Decomposition(NamedTuple):
    """Singular values of matrices A = U diag(s) V^T.

    Attributes:
        u: (batch, m, k).
        s: (batch, k), descending.
        vt: (batch, k, n).
    """

    u: Tensor
    s: Tensor
    vt: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> Decomposition:
        """Decompose (batch, m, n), in double precision.

        Raises:
            ConvergenceError: the matrix is not finite.
        """
        a = matrix.detach().double()
        if not bool(a.isfinite().all()):
            raise ConvergenceError("the output's Jacobian is not finite; do the weights diverge?")
        if a.device.type == "cpu":
            return cls(*map(torch.from_numpy, np.linalg.svd(a.numpy(), full_matrices=False)))
        return cls(*torch.linalg.svd(a, full_matrices=False))

    @property
    def kept(self) -> Tensor:
        """Which singular values are above rounding of the largest, (batch, k)."""
        size = max(self.u.shape[-2], self.vt.shape[-1])
        return self.s > size * torch.finfo(self.s.dtype).eps * self.s[:, :1]

    def pull(self, right: Tensor, damping: float = 0.0) -> Tensor:
        """A^T (A A^T + lambda I)^-1 b, (batch, n), for b of (batch, m).

        Without damping that is A^+ b; singular values below rounding of the largest count as 0.

        Raises:
            UserError: a negative damping.
        """
        check_damping(damping)
        kept = self.kept
        gain = torch.where(kept, self.s, 0) / torch.where(kept, self.s**2 + damping, 1)
        coordinates = (self.u.mT @ right.to(self.s.dtype).unsqueeze(-1)).squeeze(-1)
        return (self.vt.mT @ (gain * coordinates).unsqueeze(-1)).squeeze(-1)


def activation_jacobians(network: Network, v: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Jacobians of the output with respect to the activations of the hidden layers.

    Args:
        network: the network.
        v: potentials v_1..v_L, (batch, n_i).

    Returns:
        dh_L / dh_i for i = 1..L-1, each (batch, n_L, n_i).
    """
    potentials = network.jacobians(v)[1:]
    return tuple(j @ w for j, w in zip(potentials, list(network.weights)[1:], strict=True))


@torch.no_grad()
def target_updates(
    network: Network, x: Tensor, error: Tensor, dampings: Sequence[float]
) -> list[list[Tensor]]:
    """Updates of the hidden layers' weights by damped Gauss-Newton targets, mean over the batch.

    D_i J_i^T (J_i J_i^T + lambda I)^-1 e_L h_{i-1}^T of each sample (Meulemans et al. 2020,
    Condition S3), with J_i = dh_L / dh_i.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        error: output errors, the negative gradients of the samples' losses, (batch, n_L).
        dampings: values of lambda, >= 0.

    Returns:
        For each of W_1..W_{L-1} its change at each damping, (n_i, n_{i-1}).

    Raises:
        UserError: a negative damping.
        ConvergenceError: the Jacobians are not finite.
    """
    free = network.run(x)
    found = []
    for i, jacobian in enumerate(activation_jacobians(network, free.v)):
        parts = Decomposition.of(jacobian)
        slopes = network.activations[i].derivative(free.v[i])
        pulled = [slopes * parts.pull(error, damping).to(error) for damping in dampings]
        found.append([p.T @ free.r[i] / len(x) for p in pulled])
    return found


def output_hessian(loss: Loss, output: Tensor, y: Tensor) -> Tensor:
    """Hessians H_L of each sample's loss with respect to the output, (batch, n_L, n_L).

    Args:
        loss: the loss.
        output: activity of the output layer, (batch, n_L).
        y: labels, (batch, n_L).
    """

    def gradient(r: Tensor, label: Tensor) -> Tensor:
        return -loss.error(r.unsqueeze(0), label.unsqueeze(0)).squeeze(0)

    hessian: Tensor = torch.func.vmap(torch.func.jacrev(gradient))(output, y)
    return hessian


def check_damping(damping: float) -> None:
    """Refuse a damping that is negative or not finite.

    Raises:
        UserError: it is.
    """
    if not (math.isfinite(damping) and damping >= 0):
        raise UserError(f"damping = {damping}: it must be finite and >= 0")


class IdealTargets(TargetRule):
    """What the rules with ideal targets share.

    Args:
        network: the network that learns.
        loss: see `TargetRule`.
        target_stepsize: see `TargetRule`.
        damping: Tikhonov constant lambda, >= 0.
        frozen: see `TargetRule`.

    Raises:
        UserError: a negative damping, or what `TargetRule` refuses.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        target_stepsize: float = 0.1,
        damping: float = 0.0,
        frozen: Collection[int] = (),
    ) -> None:
        super().__init__(network, loss, target_stepsize=target_stepsize, frozen=frozen)
        check_damping(damping)
        self.damping = damping

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "damping": self.damping,
        }


@register(
    "gnt",
    family=FAMILY,
    feedback="the Jacobian of the output",
    local="no: an ideal to measure against",
    local_time="no",
    equation="Delta h_i = J_i^T (J_i J_i^T + lambda I)^-1 Delta h_L",
    source="Meulemans et al. 2020, eq. 12 and Condition S3",
)
class GaussNewtonTargets(IdealTargets):
    """Gauss-Newton targets, Delta h_i = J_i^T (J_i J_i^T + lambda I)^-1 Delta h_L.

    With J_i = dh_L / dh_i of each sample, and the pseudoinverse where lambda = 0 (Meulemans et al.
    2020, Conditions 2 and S3). For large lambda they align with the gradient.
    """

    def _hidden(self, free: Forward, last: Tensor, y: Tensor) -> list[Tensor]:
        jacobians = activation_jacobians(self.network, free.v)
        return [Decomposition.of(j).pull(last, self.damping).to(last) for j in jacobians]


@register(
    "ggnt",
    family=FAMILY,
    feedback="the Jacobian of the output",
    local="no: an ideal to measure against",
    local_time="no",
    equation="Delta h_i = (J_i^T H J_i + lambda I)^-1 J_i^T Delta h_L",
    source="Meulemans et al. 2020, eq. 187",
)
class GeneralisedGaussNewtonTargets(IdealTargets):
    """Generalised Gauss-Newton targets, Delta h_i = (J_i^T H J_i + lambda I)^-1 J_i^T Delta h_L.

    With the Hessian H of the loss at the output, so for losses other than the squared error too
    (Meulemans et al. 2020, App. D). Where lambda = 0 it is the limit lambda -> 0, in which a part
    of Delta h_L that the Hessian sends to 0 counts as 0. Large steps then come where the softmax
    is all but certain and wrong.
    """

    def _hidden(self, free: Forward, last: Tensor, y: Tensor) -> list[Tensor]:
        jacobians = [j.double() for j in activation_jacobians(self.network, free.v)]
        hessian = output_hessian(self.loss, free.output.double(), y.double())
        right = last.double()
        if self.damping > 0:
            # (J^T H J + l)^-1 J^T = J^T (H J J^T + l)^-1 needs matrices of n_L rows only.
            eye = torch.eye(right.shape[1], dtype=right.dtype, device=right.device)
            grams = [hessian @ j @ j.mT + self.damping * eye for j in jacobians]
            pulled = [solve(gram, right) for gram in grams]
            steps = [
                (p.unsqueeze(1) @ j).squeeze(1) for p, j in zip(pulled, jacobians, strict=True)
            ]
        else:
            # With H = K K^T and A = K^T J, (A^T A)^+ J^T = A^+ K^+ on the range of H.
            k = Decomposition.of(hessian)
            root = k.vt * torch.where(k.kept, k.s, 0).sqrt().unsqueeze(-1)
            scaled = Decomposition.of(root.mT).pull(right)
            steps = [Decomposition.of(root @ j).pull(scaled) for j in jacobians]
        return [step.to(last) for step in steps]
