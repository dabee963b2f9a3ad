"""Measures of the theory of deep feedback control: alignment, Conditions 1 to 3, stability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from analogdfc.controller import Controller
from analogdfc.dynamics.loop import Loop, feedback_jacobians
from analogdfc.dynamics.steady import sensitivity
from analogdfc.errors import ConvergenceError, UserError

__all__ = [
    "Alignment",
    "alignment",
    "angle",
    "condition1",
    "condition2",
    "condition3",
    "predicted_settling_time",
    "slowest_eigenvalue",
    "stability_matrix",
]

_NOT_FINITE = "the {} is not finite, so it has no eigenvalues; do the weights or the loop diverge?"


def angle(a: Tensor, b: Tensor) -> float:
    """Angle between two tensors of the same shape, as flat vectors, in degrees, 0 to 180.

    Accurate for angles near 0 and 180 degrees too, where a cosine is not. A tensor that is exactly
    0 has no direction: the angle is nan.

    Args:
        a: a tensor of any shape.
        b: another of the same shape.

    Raises:
        UserError: tensors of different shapes.
    """
    if a.shape != b.shape:
        raise UserError(f"no angle between tensors of shapes {tuple(a.shape)} and {tuple(b.shape)}")
    x, y = a.detach().flatten().double(), b.detach().flatten().double()
    norms = float(x.norm()), float(y.norm())
    if min(norms) == 0:
        return math.nan
    x, y = x / norms[0], y / norms[1]
    # Twice the angle of half.
    return math.degrees(2 * math.atan2(float((x - y).norm()), float((x + y).norm())))


@dataclass(frozen=True)
class Alignment:
    """An update beside a reference.

    Attributes:
        angle: angle between the two, in degrees; nan where one of them is 0.
        norm: norm of the update.
        norm_ratio: norm of the update over that of the reference; nan where the latter is 0.
    """

    angle: float
    norm: float
    norm_ratio: float

    @classmethod
    def of(cls, reference: Tensor, update: Tensor) -> Alignment:
        """Of two tensors of the same shape, as flat vectors.

        Args:
            reference: a tensor of any shape.
            update: another of the same shape.
        """
        norm, base = float(update.detach().norm()), float(reference.detach().norm())
        return cls(angle(reference, update), norm, norm / base if base > 0 else math.nan)


def alignment(reference: Sequence[Tensor], update: Sequence[Tensor]) -> dict[str, Alignment]:
    """Alignment of each layer and of the whole network (Meulemans et al. 2021, App. F.1).

    Args:
        reference: the reference's changes of layers 1..L, such as the weights of an ideal update,
            each (n_i, n_{i-1}) or (n_i,).
        update: the changes that are measured, of the same shapes.

    Returns:
        Under '1'..'L' each layer, under 'all' the concatenated layers.

    Raises:
        UserError: layers of different number or shapes.
    """
    if [t.shape for t in reference] != [t.shape for t in update] or not reference:
        raise UserError("the two updates have different layers or none")
    pairs = zip(reference, update, strict=True)
    found = {str(i): Alignment.of(a, b) for i, (a, b) in enumerate(pairs, 1)}
    whole = [torch.cat([t.flatten() for t in tensors]) for tensors in (reference, update)]
    return found | {"all": Alignment.of(*whole)}


def condition1(activations: Sequence[Tensor]) -> Tensor:
    """How far the layers' activation norms lie apart (Meulemans et al. 2021, eqs. 212 and 213).

    Standard deviation of ||r_0||..||r_{L-1}|| over their mean. The printed sums also run over
    layer L but divide by L; Condition 1 itself leaves the output layer out, and so does this. The
    published code divides the variance by the mean before it takes the root; this follows the
    paper, so that the scale of the activations does not matter.

    Args:
        activations: r_0..r_{L-1}, (batch, n_i), for instance of `layer_inputs` in the free state.

    Returns:
        (batch,), >= 0; 0 is perfect compliance.
    """
    norms = torch.stack([r.detach().norm(dim=-1) for r in activations])
    mean = norms.mean(dim=0)
    spread = (norms - mean).square().mean(dim=0).sqrt()
    return torch.where(mean > 0, spread / torch.where(mean > 0, mean, 1), 0)


def condition2(jacobians: Sequence[Tensor], feedback: Sequence[Tensor]) -> Tensor:
    """Share of the feedback in the row space of J (Meulemans et al. 2021, eqs. 210 and 211).

    ||P Q||_F / ||Q||_F with P = J^T (J J^T)^-1 J; where J loses rank, P still projects on its row
    space.

    Args:
        jacobians: J_1..J_L = dr_L/dv_i, (batch, n_L, n_i), as of `Network.jacobians`.
        feedback: Q_1..Q_L, (n_i, n_L), or dg_i/du of a feedback network, (batch, n_i, n_L).

    Returns:
        (batch,), 0 to 1; 1 is perfect compliance. nan where Q is 0.

    Raises:
        ConvergenceError: a Jacobian is not finite.
    """
    j = torch.cat([part.detach() for part in jacobians], dim=-1)
    q = torch.cat([part.detach() for part in feedback], dim=-2)
    if not bool(j.isfinite().all()):
        raise ConvergenceError("the Jacobian of the output is not finite; do the weights diverge?")
    if j.device.type == "cpu":
        _, s, basis = map(torch.from_numpy, np.linalg.svd(j.numpy(), full_matrices=False))
    else:
        _, s, basis = torch.linalg.svd(j, full_matrices=False)
    kept = s > max(j.shape[-2:]) * torch.finfo(j.dtype).eps * s[..., :1]
    projected = (basis @ q) * kept.unsqueeze(-1)
    return (_frobenius(projected) / _frobenius(q)).clamp(max=1)


def condition3(loop: Loop, v: tuple[Tensor, ...], u: Tensor | None = None) -> Tensor:
    """Largest real part of the eigenvalues of -(J Q + alpha~ I) (Meulemans et al. 2021, eq. 135).

    Negative where Condition 3 holds: then the loop is stable under integral control and neurons
    much faster than the controller. dg_i/du stands for Q_i where the feedback is a network
    (App. H).

    Args:
        loop: the loop; alpha~ is its controller's damping.
        v: potentials of layers 1..L at the steady state, (batch, n_i).
        u: control signal at the steady state, (batch, n_L); only a feedback network needs it.

    Returns:
        (batch,), dimensionless; over tau_u, it is the growth rate of the slowest mode in that case.

    Raises:
        ConvergenceError: the matrix is not finite.
        UserError: a feedback network, but no control signal.
    """
    values = _eigenvalues(-sensitivity(loop, v, u), "sensitivity of the output")
    return values.real.amax(dim=-1) - loop.controller.damping


def stability_matrix(loop: Loop, v: tuple[Tensor, ...], u: Tensor | None = None) -> Tensor:
    """System matrix A_PI of the loop linearised at a steady state, for any controller and tau_v.

    In the state (v_1, ..., v_L, u_int, r_slow), whose derivatives `analogdfc.dynamics.derivative`
    gives; without u_int or r_slow where the controller has no integral or derivative part. The
    paper's matrix for the PI controller (Meulemans et al. 2021, eqs. 136 and 152) describes the
    same dynamics in (Delta v, u), with Delta v = (I - J^) v, and has the same eigenvalues.

    Args:
        loop: the loop.
        v: potentials of layers 1..L at the steady state, (batch, n_i).
        u: control signal at the steady state, (batch, n_L); only a feedback network needs it.

    Returns:
        (batch, N, N) with N = n_1 + ... + n_L, + n_L for each of u_int and r_slow, in 1 / (unit of
        the controller's time).

    Raises:
        UserError: a feedback network, but no control signal.
    """
    c, tau_v = loop.controller, loop.tau_v
    slopes = [phi.derivative(vi) for phi, vi in zip(loop.activations, v, strict=True)]
    spans, du = _control_jacobian(c, slopes)
    # u_int and r_slow where the controller has them.
    last, integral, slow = spans[len(v) - 1], spans[min(len(v), len(spans) - 1)], spans[-1]
    output, eye = torch.diag_embed(slopes[-1]), torch.eye(slopes[-1].shape[-1]).to(du)
    a = du.new_zeros(len(du), du.shape[-1], du.shape[-1])
    for i, q in enumerate(feedback_jacobians(loop, u)):
        rows = a[:, spans[i]]
        rows += q @ du / tau_v
        rows[:, :, spans[i]] -= torch.eye(len(loop.biases[i])).to(du) / tau_v
        if i > 0:
            rows[:, :, spans[i - 1]] += loop.weights[i] * slopes[i - 1].unsqueeze(-2) / tau_v
    if c.integrates:
        rows = a[:, integral]
        rows[:, :, last] -= output / c.tau_u
        if c.leak == "control":
            rows -= c.alpha / c.tau_u * du
        else:
            rows[:, :, integral] -= c.alpha / c.tau_u * eye
    if c.differentiates:
        a[:, slow, last] = output / c.tau_d
        a[:, slow, slow] = -eye / c.tau_d
    return a


def _control_jacobian(c: Controller, slopes: list[Tensor]) -> tuple[list[slice], Tensor]:
    """Where the parts of the state (v_1..v_L, u_int, r_slow) lie, and du/dstate, (batch, n_L, N).

    u = u_int + k_p (r* - r_L) - k_d (r_L - r_slow) / tau_d.
    """
    sizes = [slope.shape[1] for slope in slopes]
    controls = [sizes[-1]] * (c.integrates + c.differentiates)
    ends = np.cumsum([0, *sizes, *controls])
    spans = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    eye = torch.eye(sizes[-1]).to(slopes[-1])
    k_d = c.k_d / c.tau_d
    du = eye.new_zeros(len(slopes[-1]), sizes[-1], int(ends[-1]))
    du[:, :, spans[len(sizes) - 1]] = -(c.k_p + k_d) * torch.diag_embed(slopes[-1])
    if c.integrates:
        du[:, :, spans[len(sizes)]] = eye
    if c.differentiates:
        du[:, :, spans[-1]] = k_d * eye
    return spans, du


def slowest_eigenvalue(loop: Loop, v: tuple[Tensor, ...], u: Tensor | None = None) -> Tensor:
    """Eigenvalue of A_PI with the largest real part (Meulemans et al. 2021, Fig. 3E).

    Of a conjugate pair, the one above the real axis.

    Args:
        loop: the loop.
        v: potentials of layers 1..L at the steady state, (batch, n_i).
        u: control signal at the steady state, (batch, n_L); only a feedback network needs it.

    Returns:
        (batch,), complex, in 1 / (unit of the controller's time); the steady state is stable where
        the real part is negative.

    Raises:
        ConvergenceError: the matrix is not finite.
        UserError: a feedback network, but no control signal.
    """
    values = _eigenvalues(stability_matrix(loop, v, u), "system matrix")
    first = values.real.argmax(dim=-1, keepdim=True)
    found = values.gather(-1, first).squeeze(-1)
    return torch.complex(found.real, found.imag.abs())


def predicted_settling_time(slowest: Tensor, band: float = 0.02) -> Tensor:
    """Time in which the slowest mode decays to a fraction of its start, ln(1 / band) / -Re.

    The observed counterpart is `Trajectory.settling_time`. It is later by ln(c) / -Re where the
    slowest mode starts with c times the final control signal, and earlier where c < 1.

    Args:
        slowest: slowest eigenvalues, complex or their real parts, any shape, as of
            `slowest_eigenvalue`.
        band: the fraction, 0 < band < 1.

    Returns:
        The same shape, in units of the controller's time; infinite where a mode does not decay.

    Raises:
        UserError: a band outside its range.
    """
    if not 0 < band < 1:
        raise UserError(f"band = {band}: a fraction between 0 and 1 is needed")
    rate = -(slowest.real if slowest.is_complex() else slowest)
    return torch.where(rate > 0, -math.log(band) / torch.where(rate > 0, rate, 1), math.inf)


def _frobenius(matrix: Tensor) -> Tensor:
    return matrix.square().sum(dim=(-2, -1)).sqrt()


def _eigenvalues(matrix: Tensor, name: str) -> Tensor:
    """Eigenvalues, (..., n), complex."""
    if not bool(matrix.isfinite().all()):
        raise ConvergenceError(_NOT_FINITE.format(name))
    if matrix.device.type == "cpu":
        found = torch.from_numpy(np.linalg.eigvals(matrix.detach().numpy()))
    else:
        found = torch.linalg.eigvals(matrix)
    return found if found.is_complex() else torch.complex(found, torch.zeros_like(found))
