"""The controllers that drive the output of a network to its target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from torch import Tensor

from analogdfc.errors import UserError

__all__ = [
    "CONTROLLERS",
    "PD",
    "PI",
    "PID",
    "Controller",
    "I",
    "Leak",
    "P",
    "kind_of",
    "retuned",
]

Leak = Literal["control", "integral"]


@dataclass(frozen=True, kw_only=True)
class Controller:
    """Any combination of proportional, integral and derivative control (App. A.8).

    u = u_int + k_p e - k_d (r_L - r_slow) / tau_d,  tau_d dr_slow/dt = r_L - r_slow, and either

    - tau_u du_int/dt = e - alpha u, leak on the control signal (Meulemans et al. 2021, eq. 206);
    - tau_u du_int/dt = e - alpha u_int, leak on the integral part (eq. 4).

    The derivative acts on the measured output, since the target is constant in a run, behind a
    first-order low-pass filter that starts at the free output. `P`, `I`, `PI`, `PD` and `PID` name
    the usual combinations.

    Attributes:
        k_p: proportional gain, >= 0, dimensionless.
        alpha: leak, >= 0, dimensionless; the paper's alpha with a tilde where it acts on u. 0
            without an integral part.
        tau_u: time constant of the integral part, > 0, in units of time of the dynamics; infinite
            for none.
        k_d: derivative gain, >= 0, in units of time; 0 for none.
        tau_d: time constant of the derivative's filter, > 0, in units of time.
        leak: what leaks, 'control' (u) or 'integral' (u_int).

    Raises:
        UserError: a value outside its range, or a controller that holds no control signal because
            it has neither a proportional nor an integral part.
    """

    k_p: float = 0.0
    alpha: float = 0.0
    tau_u: float = math.inf
    k_d: float = 0.0
    tau_d: float = 0.1
    leak: Leak = "control"

    def __post_init__(self) -> None:
        values = (self.k_p, self.alpha, self.k_d, self.tau_d)
        if not all(map(math.isfinite, values)) or math.isnan(self.tau_u):
            raise UserError(f"{self}: every value must be finite")
        if self.k_p < 0 or self.alpha < 0 or self.tau_u <= 0:
            raise UserError(f"{self}: k_p >= 0, alpha >= 0 and tau_u > 0 are required")
        if self.k_d < 0 or self.tau_d <= 0:
            raise UserError(f"{self}: k_d >= 0 and tau_d > 0 are required")
        if self.leak not in ("control", "integral"):
            raise UserError(f"{self}: the leak acts on 'control' or 'integral'")
        if not self.integrates and self.alpha > 0:
            raise UserError(f"{self}: without an integral part nothing leaks; alpha must be 0")
        if not self.integrates and self.k_p == 0:
            raise UserError(f"{self}: an integral part or k_p > 0 is required")

    @property
    def integrates(self) -> bool:
        """Whether there is an integral part."""
        return math.isfinite(self.tau_u)

    @property
    def differentiates(self) -> bool:
        """Whether there is a derivative part."""
        return self.k_d > 0

    @property
    def damping(self) -> float:
        """Error per unit of control signal at rest, e = damping * u: alpha~ of Lemma 1.

        alpha where the leak acts on u, alpha / (1 + alpha k_p) where it acts on u_int (eq. 138),
        1 / k_p without an integral part (eq. 131).
        """
        if not self.integrates:
            return 1 / self.k_p
        return self.alpha if self.leak == "control" else self.alpha / (1 + self.alpha * self.k_p)

    def output(self, u_int: Tensor, e: Tensor, slope: Tensor | None = None) -> Tensor:
        """Control signal u, (batch, n_L).

        Args:
            u_int: integral part, (batch, n_L).
            e: control error, (batch, n_L).
            slope: filtered rate of change of the output (see `slope`), (batch, n_L); not needed
                without a derivative part.

        Raises:
            UserError: a derivative part, but no slope.
        """
        u = u_int + self.k_p * e
        if not self.differentiates:
            return u
        if slope is None:
            raise UserError(f"{self}: the derivative part needs the slope of the output")
        return u - self.k_d * slope

    def leaking(self, u_int: Tensor, u: Tensor) -> Tensor:
        """Which of the integral part and the control signal leaks.

        Args:
            u_int: integral part, (batch, n_L).
            u: control signal, (batch, n_L).
        """
        return u if self.leak == "control" else u_int

    def derivative(self, leaking: Tensor, e: Tensor) -> Tensor:
        """du_int/dt of the signal that leaks and the error, all (batch, n_L).

        Args:
            leaking: the signal that leaks, (batch, n_L).
            e: control error, (batch, n_L).
        """
        return (e - self.alpha * leaking) / self.tau_u

    def slope(self, r: Tensor, r_slow: Tensor) -> Tensor:
        """dr_slow/dt, which is the filtered dr_L/dt, of the output and its low-passed copy.

        Args:
            r: output r_L, (batch, n_L).
            r_slow: its low-passed copy, (batch, n_L).
        """
        return (r - r_slow) / self.tau_d

    def with_damping(self, damping: float) -> Controller:
        """The controller of another `damping`, with the leak on u.

        Args:
            damping: error per unit of control signal at rest, >= 0; above 0 where there is no
                integral part.
        """
        if not self.integrates:
            return replace(self, k_p=1 / damping)
        return Controller(
            k_p=self.k_p, alpha=damping, tau_u=self.tau_u, k_d=self.k_d, tau_d=self.tau_d
        )

    def with_leak_on_control(self) -> Controller:
        """The controller that gives the same u(t) with the leak on u (eqs. 137 and 138).

        alpha~ = alpha / (1 + alpha k_p) and tau_u~ = tau_u / (1 + alpha k_p).

        Raises:
            UserError: a leak on the integral part beside a derivative part, for which there is no
                such controller.
        """
        if self.leak == "control":
            return self
        if self.differentiates:
            raise UserError(f"{self}: with a derivative part, no leak on u gives the same signal")
        scale = 1 + self.alpha * self.k_p
        return replace(self, alpha=self.alpha / scale, tau_u=self.tau_u / scale, leak="control")


@dataclass(frozen=True)
class P(Controller):
    """Proportional control, u = k_p e (Meulemans et al. 2021, App. A.8.2).

    Attributes:
        k_p: proportional gain, > 0, dimensionless.

    Raises:
        UserError: a gain outside its range.
    """

    k_p: float
    alpha: float = field(default=0.0, init=False, repr=False)
    tau_u: float = field(default=math.inf, init=False, repr=False)
    k_d: float = field(default=0.0, init=False, repr=False)
    tau_d: float = field(default=0.1, init=False, repr=False)
    leak: Leak = field(default="control", init=False, repr=False)


@dataclass(frozen=True)
class I(Controller):  # noqa: E742 - the field's name for it
    """Integral control, tau_u du/dt = e - alpha u (Meulemans et al. 2021, App. A.8.1).

    Attributes:
        alpha: leak, >= 0, dimensionless.
        tau_u: time constant, > 0, in units of time of the dynamics.

    Raises:
        UserError: a value outside its range.
    """

    k_p: float = field(default=0.0, init=False, repr=False)
    alpha: float = 0.0015
    tau_u: float = 1.0
    k_d: float = field(default=0.0, init=False, repr=False)
    tau_d: float = field(default=0.1, init=False, repr=False)
    leak: Leak = field(default="control", init=False, repr=False)


@dataclass(frozen=True)
class PI(Controller):
    """Proportional-integral control (Meulemans et al. 2021, eqs. 4 and 206).

    Attributes:
        k_p: proportional gain, >= 0, dimensionless.
        alpha: leak, >= 0, dimensionless.
        tau_u: time constant, > 0, in units of time of the dynamics.
        leak: 'control' for eq. 206, 'integral' for eq. 4.

    Raises:
        UserError: a value outside its range.
    """

    k_p: float = 2.0
    alpha: float = 0.0015
    tau_u: float = 1.0
    k_d: float = field(default=0.0, init=False, repr=False)
    tau_d: float = field(default=0.1, init=False, repr=False)
    leak: Leak = "control"


@dataclass(frozen=True)
class PD(Controller):
    """Proportional-derivative control (Meulemans et al. 2021, App. A.8.3).

    Attributes:
        k_p: proportional gain, > 0, dimensionless.
        k_d: derivative gain, >= 0, in units of time of the dynamics.
        tau_d: time constant of the derivative's filter, > 0, in the same unit.

    Raises:
        UserError: a value outside its range.
    """

    k_p: float
    alpha: float = field(default=0.0, init=False, repr=False)
    tau_u: float = field(default=math.inf, init=False, repr=False)
    k_d: float = 0.1
    tau_d: float = 0.1
    leak: Leak = field(default="control", init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class PID(Controller):
    """Proportional-integral-derivative control (Meulemans et al. 2021, App. A.8.3).

    Attributes:
        k_p: proportional gain, >= 0, dimensionless.
        alpha: leak, >= 0, dimensionless.
        tau_u: time constant of the integral part, > 0, in units of time of the dynamics.
        k_d: derivative gain, >= 0, in the same unit.
        tau_d: time constant of the derivative's filter, > 0, in the same unit.
        leak: 'control' for a leak as in eq. 206, 'integral' for eq. 4.

    Raises:
        UserError: a value outside its range.
    """

    k_p: float = 2.0
    alpha: float = 0.0015
    tau_u: float = 1.0
    k_d: float = 0.1


CONTROLLERS: dict[str, type[Controller]] = {"P": P, "I": I, "PI": PI, "PD": PD, "PID": PID}
"""The usual combinations by their names."""


def kind_of(controller: Controller) -> str:
    """Which of `CONTROLLERS` a controller is by its constants.

    Args:
        controller: any controller.
    """
    if controller.differentiates:
        return "PID" if controller.integrates else "PD"
    if not controller.integrates:
        return "P"
    return "PI" if controller.k_p > 0 else "I"


def retuned(
    given: Controller, kind: str | None = None, said: Mapping[str, Any] | None = None
) -> Controller:
    """A controller with other constants, and perhaps of another kind.

    Constants that aren't said stay where they mean the same in the new kind.

    Args:
        given: the controller.
        kind: a key of `CONTROLLERS`; None for its own.
        said: the constants that change, by their names.

    Raises:
        UserError: an unknown kind, a constant that the kind has no place for, or out of its range.
    """
    said = said or {}
    if kind is None and not said:
        return given
    name = kind or kind_of(given)
    if name not in CONTROLLERS:
        raise UserError(f"controller {name!r}: there are {', '.join(CONTROLLERS)}")
    made = CONTROLLERS[name]
    allowed = {field.name for field in fields(made) if field.init}
    for constant in said:
        if constant not in allowed:
            raise UserError(
                f"{constant} = {said[constant]}: {name} control has no {constant}; it has "
                f"{', '.join(sorted(allowed))}"
            )
    kept: dict[str, Any] = {
        key: value
        for key in ("k_p", "k_d", "alpha", "tau_u", "tau_d", "leak")
        if key in allowed and _has(given, key, value := getattr(given, key))
    }
    if "k_p" in allowed and "k_p" not in {*kept, *said} and name in ("P", "PD"):
        kept["k_p"] = PI().k_p
    return made(**{**kept, **said})


def _has(given: Controller, key: str, value: Any) -> bool:
    """Whether a controller has a part at all, so that its value means something elsewhere."""
    if key in ("alpha", "tau_u", "leak"):
        return given.integrates
    if key in ("k_d", "tau_d"):
        return given.differentiates
    return bool(value > 0)
