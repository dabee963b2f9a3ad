"""Curves: how a figure of a device depends on its conductance, or on time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError


def _polynomial(c: tuple[float, ...], z: Tensor) -> Tensor:
    out = torch.full_like(z, c[-1])
    for coefficient in reversed(c[:-1]):
        out = out * z + coefficient
    return out


def _positive(z: Tensor) -> Tensor:
    return z.clamp(min=torch.finfo(z.dtype).tiny)


def _log(c: tuple[float, ...], z: Tensor) -> Tensor:
    return _polynomial(c, _positive(z).log())


def _power(c: tuple[float, ...], z: Tensor) -> Tensor:
    return c[0] * _positive(z) ** c[1]


def _saturating(c: tuple[float, ...], z: Tensor) -> Tensor:
    return -c[0] * torch.expm1(-z)


FORMS: dict[str, Callable[[tuple[float, ...], Tensor], Tensor]] = {
    "polynomial": _polynomial,
    "log": _log,
    "power": _power,
    "saturating": _saturating,
}
"""Forms of a piece in z, the argument divided by its reference.

polynomial: c0 + c1 z + c2 z^2 + ...; log: the same in ln z; power: c0 z^c1;
saturating: c0 (1 - exp(-z)).
"""

_NUMBER = {"power": 2, "saturating": 1}


@dataclass(frozen=True)
class Piece:
    """One formula, with its limits.

    Attributes:
        coefficients: c0, c1, ... of the form.
        form: a name of `FORMS`.
        low: least value; the formula is clipped there.
        high: largest value.
        below: the piece holds for z < below; None for all z that no piece before it takes.
    """

    coefficients: tuple[float, ...]
    form: str = "polynomial"
    low: float | None = None
    high: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UserError(f"unknown form {self.form!r} of a curve; {', '.join(FORMS)}")
        count, needed = len(self.coefficients), _NUMBER.get(self.form)
        if count == 0 or (needed is not None and count != needed):
            raise UserError(
                f"{count} coefficients of a curve of form {self.form!r}; "
                f"{needed or 'one or more'} must be given"
            )
        for c in self.coefficients:
            check_number("coefficient of a curve", c)

    def __call__(self, z: Tensor) -> Tensor:
        """The formula's value, clipped, at z = argument / reference."""
        out = FORMS[self.form](self.coefficients, z)
        return out if self.low is None and self.high is None else out.clamp(self.low, self.high)


@dataclass(frozen=True)
class Curve:
    """A figure as a function of the conductance in siemens, or of time in seconds.

    The reference belongs to the curve: a coefficient set says at which conductance or time it was
    fitted, and using a smaller window doesn't change the device's noise at a given conductance.

    Attributes:
        pieces: the formulas, the one for the smallest arguments first; only the last has no
            `below`.
        reference: siemens or seconds that the argument is divided by.
    """

    pieces: tuple[Piece, ...]
    reference: float = 1.0

    def __post_init__(self) -> None:
        check_number("reference of a curve", self.reference, low=0.0, open_low=True)
        if not self.pieces:
            raise UserError("a curve without a piece; one or more must be given")
        limits = [piece.below for piece in self.pieces]
        inner = [limit for limit in limits[:-1] if limit is not None]
        if limits[-1] is not None or len(inner) < len(limits) - 1 or inner != sorted(inner):
            raise UserError(
                f"pieces of a curve end at {limits}; each but the last must end below the next one"
            )

    @classmethod
    def polynomial(cls, *coefficients: float, reference: float = 1.0) -> Curve:
        """c0 + c1 z + c2 z^2 + ... with z = argument / reference; one number is a constant.

        Args:
            coefficients: c0, c1, ..., one or more.
            reference: siemens or seconds that the argument is divided by.
        """
        return cls((Piece(tuple(coefficients)),), reference)

    @classmethod
    def log(cls, offset: float, slope: float, *, reference: float = 1.0) -> Curve:
        """Offset + slope ln z with z = argument / reference.

        Args:
            offset: value at the reference.
            slope: change for each factor e of the argument.
            reference: siemens or seconds that the argument is divided by.
        """
        return cls((Piece((offset, slope), "log"),), reference)

    def __call__(self, argument: Tensor) -> Tensor:
        """The figure at each argument, of the same shape and dtype."""
        z = argument / self.reference
        out = self.pieces[-1](z)
        for piece in reversed(self.pieces[:-1]):
            assert piece.below is not None
            out = torch.where(z < piece.below, piece(z), out)
        return out

    def scaled(self, factor: float) -> Curve:
        """The same curve with values larger by a factor > 0.

        Args:
            factor: what the values are multiplied by, > 0.
        """
        pieces = []
        for p in self.pieces:
            few = 1 if p.form == "power" else len(p.coefficients)
            c = (*(factor * x for x in p.coefficients[:few]), *p.coefficients[few:])
            low = None if p.low is None else factor * p.low
            high = None if p.high is None else factor * p.high
            pieces.append(Piece(c, p.form, low, high, p.below))
        return Curve(tuple(pieces), self.reference)


def values(curve: Curve, arguments: Sequence[float]) -> list[float]:
    """The curve at a few arguments, in double precision."""
    return [float(x) for x in curve(torch.tensor(list(arguments), dtype=torch.float64))]
