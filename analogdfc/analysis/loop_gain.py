"""The gain of the controller's loop along frequencies, as a designer reads it.

The loop is cut at the amplifiers that make the control signal -u. With several outputs its gain
L(s) is a matrix. It is read in two ways: by its eigenvalues, the characteristic loci, whose margins
are those against a change of all channels alike; and channel by channel, with the loops of the
others closed, which is what a probe in that channel alone sees:

    T_k = 1 / [(I + L)^-1]_kk - 1,  so that  1 + T_k = det(I + L) / det(I + L without channel k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.margins import Margins, eigenvalues, matched
from analogdfc.analysis.settling.rational import Complex, Modal, poles
from analogdfc.analysis.settling.transfer import LoopTransfer, OperatingPoint
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER
from analogdfc.errors import UserError

Array = NDArray[np.float64]

_SHOWN = 3e-3
"""Part of the largest term from which one is dominant; of smaller ones a fit is less sure."""

_FITTED = 1e-11
_MOST = 60
"""Error of a fit, and a bound on its points of support; terms that are hardly seen need them."""


_AGAIN = 0.05
"""Part of itself within which a pole must be found again from half of the frequencies."""


class Band(NamedTuple):
    """Frequencies from a lowest to a highest, evenly on a logarithmic scale.

    Attributes:
        low: the lowest, in hertz.
        high: the highest.
        per_decade: how many a decade.
    """

    low: float
    high: float
    per_decade: int = 40

    @classmethod
    def of(cls, chip: Chip, per_decade: int = 40) -> Band:
        """From well below a chip's slowest rate to ten times the fastest of its loop.

        Args:
            chip: the chip.
            per_decade: frequencies a decade.
        """
        design = chip.design
        rate, hertz = 1 / design.pace[1], design.card.amplifier.gain_bandwidth or 0.0
        fastest = max(10 / design.tau_v_seconds, 10 * rate, 2 * math.pi * hertz)
        return cls(1e-3 * rate / (2 * math.pi), 10 * fastest / (2 * math.pi), per_decade)

    @property
    def hertz(self) -> Array:
        """The frequencies, (points,)."""
        count = math.floor(self.per_decade * math.log10(self.high / self.low) + 1e-9) + 1
        return np.asarray(self.low * 10 ** (np.arange(count) / self.per_decade))


@dataclass(frozen=True)
class LoopGain:
    """L along frequencies, of one sample.

    Attributes:
        hertz: the frequencies, rising, (points,).
        matrix: L there, (points, n_L, n_L); positive where feedback is negative.

    Raises:
        UserError: fewer than two frequencies, or frequencies that don't rise.
    """

    hertz: Array
    matrix: Complex

    def __post_init__(self) -> None:
        if len(self.hertz) < 2 or not (np.diff(self.hertz) > 0).all() or self.hertz[0] <= 0:
            raise UserError("frequencies: two or more are needed, rising, all above 0")

    @cached_property
    def loci(self) -> Complex:
        """Eigenvalues of L, (points, n_L), each column one locus."""
        found = eigenvalues(self.matrix)
        for k in range(len(found) - 1):
            found[k + 1] = matched(found[k], found[k + 1])
        return found

    @cached_property
    def channels(self) -> Complex:
        """T_k of every channel with the others closed, (points, n_L)."""
        inverse = np.linalg.inv(self._whole)
        return np.asarray(1 / np.diagonal(inverse, axis1=1, axis2=2) - 1)

    @property
    def determinant(self) -> Complex:
        """det(I + L), (points,), whose zeros are the modes."""
        return np.asarray(np.linalg.det(self._whole))

    @property
    def _whole(self) -> Complex:
        return np.asarray(np.eye(self.matrix.shape[-1]) + self.matrix)

    @cached_property
    def margins(self) -> Margins:
        """Of the worst locus: against the same change of all channels."""
        return self._margins(self.loci)

    @cached_property
    def channel_margins(self) -> tuple[Margins, ...]:
        """Of every channel: against a change of that one alone."""
        every = np.split(self.channels, self.channels.shape[1], axis=1)
        return tuple(self._margins(one) for one in every)

    def _margins(self, loci: Complex) -> Margins:
        return Margins.of(loci[:-1], loci[1:], 2 * math.pi * self.hertz)

    @cached_property
    def poles(self) -> Complex:
        """Dominant poles of the closed loop, (m,), in rad/s, slowest first, by a rational fit.

        Of pairs those with imaginary part >= 0, within the frequencies. What the loop hardly shows
        isn't among them, nor what a fit to all frequencies has and one to every other doesn't: a
        fit to values with a simulator's tolerances has poles of its own.
        """
        s = np.asarray(2j * math.pi * self.hertz, dtype=np.complex128)
        closed = np.linalg.solve(self._whole, self.matrix).reshape(len(s), -1)
        closed = closed / np.abs(closed).max()
        found = poles(s, closed, tolerance=_FITTED, most=_MOST)
        size = np.abs(found)
        # A point of support without a weight comes out as a pole.
        apart = np.abs(found.real + 1j * np.abs(found.imag) - s[:, None]).min(axis=0)
        found = found[(size > np.abs(s[0])) & (size < np.abs(s[-1])) & (apart > 1e-8 * size)]
        terms = Modal.fit(s, closed, found)
        shown = np.abs(terms.residues).max(axis=1) / np.abs(found)
        found = found[(shown > _SHOWN * shown.max()) & (found.imag >= 0)]
        halves = (poles(s[k::2], closed[k::2], tolerance=_FITTED, most=_MOST) for k in (0, 1))
        again = np.abs(np.concatenate([*halves])[:, None] - found).min(axis=0, initial=np.inf)
        found = found[again < _AGAIN * np.abs(found)]
        return np.asarray(found[np.argsort(-found.real)])


def loop_gain(chip: Chip, point: OperatingPoint, hertz: Array) -> LoopGain:
    """The loop gain of a chip by its linearised equations.

    What feeds the amplifiers at the cut back within the controller belongs to them, as it does
    where a probe is put behind the controller's cell.

    Args:
        chip: the chip.
        point: where it is linearised, of one sample.
        hertz: frequencies, rising, (points,).

    Raises:
        ConvergenceError: outputs that are loaded so much that nothing converges.
        UserError: frequencies that don't rise.
    """
    s = np.asarray(2j * math.pi * hertz)
    loop = LoopTransfer(chip, point)
    whole = loop.loop_gain(s)[0]
    within = _within(loop)
    if within is not None:
        inner = within.loop_gain(s)[0]
        whole = np.linalg.solve(np.eye(loop.channels) + inner, whole - inner)
    return LoopGain(hertz, whole)


def _within(loop: LoopTransfer) -> LoopTransfer | None:
    """The part of a loop that stays within the controller's cell; None where there is none."""
    circuit = loop.chip.circuit
    cut, behind = circuit.control.u_minus.port, circuit.control.u.bank
    inside = {bank.name for bank in circuit.banks if bank.part == CONTROLLER} - {behind, cut.bank}
    into = {
        port: [term for term in terms if term.port != cut or port.bank in inside]
        for port, terms in loop.paths.into.items()
    }
    if not any(term.port == cut for terms in into.values() for term in terms):
        return None
    return LoopTransfer(loop.chip, loop.point, replace(loop.paths, into=into))
