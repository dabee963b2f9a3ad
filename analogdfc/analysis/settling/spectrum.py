"""What a spectrum of a loop tells, whichever way it is found."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex, Modal
from analogdfc.analysis.settling.transfer import LoopTransfer
from analogdfc.circuit.chip import Chip

_PER_DECADE = 12
_PER_DECADE_LARGE = 8
_LARGE = 500  # amplifiers from which the grid is coarser

_OFFSET = 1e-3
"""Distance of the contour from the imaginary axis, relative to the algorithm's slowest rate."""

SKETCHES = 3
"""Mixtures of a bank's signals from which the poles of all are found."""


@dataclass(frozen=True)
class Modes:
    """Zeros of det(I + L(s)) of one sample, slowest or least stable first.

    Attributes:
        values: (m,), in rad/s; of a pair the one with imaginary part >= 0.
        at_cut: residues of the outputs at the loop's cut after the release, (m, n_L), in volts.
    """

    values: Complex
    at_cut: Complex


def is_large(chip: Chip) -> bool:
    """Whether every look at a chip's loop takes a good part of a second."""
    return chip.circuit.amplifiers > _LARGE


def line_of(loop: LoopTransfer, *, rough: bool) -> tuple[float, Complex]:
    """Points of a line beside the imaginary axis on which all of a loop is seen.

    Args:
        loop: transfer functions.
        rough: fewer points.

    Returns:
        The rate of the slowest part of the algorithm, in rad/s, and points with imaginary
        part >= 0, rising, (points,), in rad/s.
    """
    design = loop.chip.design
    rate = 1 / design.pace[1]
    fastest = max(10 / design.tau_v_seconds, 10 * rate)
    if loop.numbers.inverse_omega > 0:
        fastest = max(fastest, 1 / loop.numbers.inverse_omega)
    density = _PER_DECADE_LARGE if rough or is_large(loop.chip) else _PER_DECADE
    decades = math.log10(10 * fastest / (0.03 * rate))
    high = np.geomspace(0.03 * rate, 10 * fastest, math.ceil(density * decades))
    low = np.geomspace(3e-4, 0.015, 5) * rate
    return rate, _OFFSET * rate + 1j * np.concatenate([[0.0], low, high])


class LoopSpectrum(ABC):
    """What one sample's loop does along a line beside the imaginary axis.

    Args:
        loop: transfer functions of a batch of one.
        rough: begin with fewer points.

    Attributes:
        rate: of the slowest part of the algorithm, in rad/s.
        s: points of the line with imaginary part >= 0, (points,), in rad/s.
    """

    def __init__(self, loop: LoopTransfer, *, rough: bool) -> None:
        self.loop = loop
        self.rate, self.s = line_of(loop, rough=rough)

    @property
    @abstractmethod
    def unstable(self) -> int:
        """Number of unstable modes."""

    @abstractmethod
    def margins(self) -> tuple[float, float]:
        """Gain margin (a factor) and phase margin (radians) of the worst characteristic locus.

        The gain margin is the least factor above 1, for all channels alike, at which the loop
        would oscillate; infinite if there is none. The phase margin is the least lag, of all
        channels alike, that does so; pi if no locus leaves the unit circle.
        """

    @abstractmethod
    def modes(self) -> Modes:
        """The slowest zeros of det(I + L(s)), or the unstable ones, as far as they are found."""

    @property
    @abstractmethod
    def response(self) -> dict[str, Complex]:
        """Deviations from rest after the release along the line, (points, n), by bank."""

    @property
    @abstractmethod
    def poles(self) -> Complex:
        """Poles of what the loop does and shows; good for signals, not one by one in clusters."""

    def modal(self, transforms: Complex) -> Modal:
        """Transforms along the line as sums of decaying terms.

        Args:
            transforms: along the line, (batch, points, n_L), complex.
        """
        return Modal.fit(self.s, transforms, self.poles[self.poles.real < 0])

    def _sketches(self, draw: np.random.Generator, *, whole: str = "") -> list[Complex]:
        """Mixtures of what the banks show, each (points, k), and the signals of one bank."""
        columns = []
        for name, values in self.response.items():
            v = values * (self.s + self.rate)[:, None]
            if name != whole:
                v = v @ draw.standard_normal((v.shape[1], SKETCHES))
            columns.append(v)
        return columns


def scaled(columns: list[Complex]) -> Complex:
    """All columns, each group of a size of about 1, (points, k)."""
    return np.concatenate([c / max(float(np.abs(c).max()), 1e-300) for c in columns], axis=1)


def between(s: Complex, places: NDArray[np.intp] | None = None) -> Complex:
    """Points of a line halfway to the next.

    Args:
        s: the line, rising, (points,).
        places: from which of them; by default from all.
    """
    w = s.imag
    places = np.arange(len(s) - 1) if places is None else places
    here, there = w[places], w[places + 1]
    new = np.where(here > 0, np.sqrt(here * there), 0.5 * (here + there))
    out: Complex = s[0].real + 1j * new
    return out
