"""The loop over a span of time, on Radau's points: linear operators on the few nodes of the span.

Every signal is a polynomial of the third degree through its value at the start and at three nodes,
the last of which is the end (Radau IIA, of fifth order). Under a given control signal each layer is
then a lag of what it receives, one matrix over the nodes, so that one forward pass through the
layers gives all their signals; and the controller is another matrix of the kind. What is left to be
solved for is the control signal itself. Around the state at which the loop is linearised, the
operators of a span share their eigenvectors, so that the equations of a span fall apart into one
system of n_L unknowns a sample for each of its modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.controller import Controller
from analogdfc.dynamics.linalg import inverse

Array = NDArray[np.float64]

NODES: Array = np.array([(4 - 6**0.5) / 10, (4 + 6**0.5) / 10, 1.0])
"""Radau's points, in spans from their start."""


def _rates() -> Array:
    """Slopes at the nodes of the polynomials that are 0 at the start and 1 at one of the nodes."""
    powers = np.arange(1, len(NODES) + 1)
    slopes = powers * NODES[:, None] ** (powers - 1)
    return np.asarray(slopes @ np.linalg.inv(NODES[:, None] ** powers))


def _weights(nodes: Array) -> Array:
    """Weights of the quadrature over [0, 1] that is exact for polynomials through the nodes."""
    powers = np.arange(len(nodes))
    return np.asarray(np.linalg.solve((nodes[:, None] ** powers).T, 1 / (powers + 1)))


RATES = _rates()
WEIGHTS = _weights(NODES)
"""Weights of the mean over a span, fifth order."""

_ROOTS, _VECTORS = np.linalg.eig(RATES)
_KEPT = np.flatnonzero(_ROOTS.imag >= 0)  # of a conjugate pair one is enough
_COORDINATES = np.linalg.inv(_VECTORS)[_KEPT]
_BACK = _VECTORS[:, _KEPT] * np.where(_ROOTS[_KEPT].imag > 0, 2, 1)


def _defect() -> Array:
    """What `WEIGHTS` and the quadrature through start, second and last node differ by, at nodes."""
    out = WEIGHTS.copy()
    out[1:] -= _weights(np.array([0.0, *NODES[1:]]))[1:]
    return out


DEFECT = _defect()
"""Difference of two means over a span, of deviations from the start: the error's estimate."""


@dataclass(frozen=True)
class Span:
    """Operators of a span; tensors over the nodes are (nodes, batch, n).

    Attributes:
        length: its length, > 0, in units of time of the loop.
        controller: the controller.
        tau_v: time constant of the neurons, in the same unit.
        gains: J_i Q_i of layers L..1 around which the loop is linearised, (batch, n_L, n_L).
    """

    length: float
    controller: Controller
    tau_v: float
    gains: Sequence[Tensor]

    @cached_property
    def _lag(self) -> Tensor:
        return self._operator(np.linalg.inv(np.eye(len(NODES)) + self.tau_v * self._rates))

    @property
    def _rates(self) -> Array:
        return np.asarray(RATES / self.length)

    @cached_property
    def _slow(self) -> Tensor:
        """Low pass of the controller's derivative part."""
        return self._operator(
            np.linalg.inv(np.eye(len(NODES)) + self.controller.tau_d * self._rates)
        )

    @cached_property
    def _control(self) -> tuple[Tensor, Tensor, Tensor]:
        """What makes the control signal of the error, of the integral part and of the slow gap."""
        c, eye = self.controller, np.eye(len(NODES))
        integral: Array = np.zeros_like(eye)
        if c.integrates:
            integral = np.asarray(np.linalg.inv(c.alpha * eye + c.tau_u * self._rates))
        slope = (eye - self._slow.double().cpu().numpy()) / c.tau_d
        kept = eye - c.alpha * integral if c.leak == "control" else eye
        ones = np.ones(len(NODES))
        return (
            self._operator(kept @ (c.k_p * eye + c.k_d * slope) + integral),
            self._operator(ones - c.alpha * integral @ ones),
            self._operator(-c.k_d * kept @ slope @ ones),
        )

    @cached_property
    def _resolvents(self) -> Tensor:
        """(1 + c(s) G(s))^-1 of each mode of the span, (modes, batch, n_L, n_L)."""
        c, first = self.controller, self.gains[0]
        out = []
        for root in _ROOTS[_KEPT]:
            s = complex(root) / self.length
            transfer = c.k_p + c.k_d * s / (1 + c.tau_d * s) + 0j
            if c.integrates:
                leak = c.alpha * transfer if c.leak == "control" else 0
                transfer += (1 - leak) / (c.tau_u * s + c.alpha)
            lag = 1 / (1 + self.tau_v * s)
            total = sum((g * lag ** (k + 1) for k, g in enumerate(self.gains)), torch.zeros(()))
            out.append(total * transfer)
        matrices = torch.stack(out)
        eye = torch.eye(first.shape[-1], dtype=first.dtype, device=first.device)
        return inverse(matrices + eye)

    def lagged(self, start: Tensor, drive: Tensor) -> Tensor:
        """Potentials with tau_v dv/dt = -v + drive.

        Args:
            start: at the start, (batch, n).
            drive: at the nodes.
        """
        return _applied(self._lag, drive - start).add_(start)

    def control(self, e: Tensor, u_int: Tensor, gap: Tensor | None) -> Tensor:
        """Control signal at the nodes.

        Args:
            e: control error at the nodes.
            u_int: integral part at the start, (batch, n_L).
            gap: target less low-passed output at the start, (batch, n_L); None without a derivative
                part.
        """
        of_error, of_integral, of_gap = self._control
        u = _applied(of_error, e).add_(of_integral[:, None, None] * u_int)
        return u if gap is None else u.add_(of_gap[:, None, None] * gap)

    def slow_output(self, r: Tensor, r_slow: Tensor) -> Tensor:
        """Low-passed output at the nodes.

        Args:
            r: output at the nodes.
            r_slow: low-passed output at the start, (batch, n_L).
        """
        return _applied(self._slow, r - r_slow).add_(r_slow)

    def correction(self, excess: Tensor) -> Tensor:
        """What a control signal has to be lowered by, to first order.

        Args:
            excess: by which it exceeds the one that the controller answers it with, at the nodes.
        """
        kind = self._resolvents.dtype
        modes = _applied(self._operator(_COORDINATES, kind), excess.to(kind))
        modes = (self._resolvents @ modes.unsqueeze(-1)).squeeze(-1)
        return _applied(self._operator(_BACK, kind), modes).real.contiguous()

    def _operator(self, values: NDArray[np.generic], dtype: torch.dtype | None = None) -> Tensor:
        like = self.gains[0]
        return torch.from_numpy(values).to(dtype=dtype or like.dtype, device=like.device)


def mean(weights: Array, signal: Tensor) -> Tensor:
    """Weighted sum over the nodes, (batch, n).

    Args:
        weights: of the nodes.
        signal: at the nodes.
    """
    row = torch.from_numpy(weights).to(signal)
    return torch.mv(signal.flatten(1).T, row).view(signal.shape[1:])


def _applied(operator: Tensor, signal: Tensor) -> Tensor:
    """A matrix over the nodes."""
    return torch.mm(operator, signal.flatten(1)).view(len(operator), *signal.shape[1:])
