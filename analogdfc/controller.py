"""The controller that drives the output of a network to its target."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from analogdfc.errors import UserError


@dataclass(frozen=True)
class PI:
    """Proportional-integral controller whose leak acts on u (Meulemans et al. 2021, eq. 206).

    u = u_int + k_p e,  tau_u du_int/dt = e - alpha u.

    Attributes:
        k_p: proportional gain, >= 0, dimensionless.
        alpha: leak of the control signal (the paper's alpha with a tilde), >= 0; alpha k_p < 1.
        tau_u: time constant, > 0, in units of time of the dynamics.

    Raises:
        UserError: a value outside its range.
    """

    k_p: float = 2.0
    alpha: float = 0.0015
    tau_u: float = 1.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.k_p, self.alpha, self.tau_u))):
            raise UserError(f"{self}: every value must be finite")
        if self.k_p < 0 or self.alpha < 0 or self.tau_u <= 0:
            raise UserError(f"{self}: k_p >= 0, alpha >= 0 and tau_u > 0 are required")
        if self.alpha * self.k_p >= 1:
            raise UserError(f"{self}: alpha * k_p must stay below 1, else the integral grows")

    def output(self, u_int: Tensor, e: Tensor) -> Tensor:
        """Control signal u of the integral part and the error, all (batch, n_L)."""
        return u_int + self.k_p * e

    def derivative(self, u: Tensor, e: Tensor) -> Tensor:
        """du_int/dt of the control signal and the error, all (batch, n_L)."""
        return (e - self.alpha * u) / self.tau_u
