"""What the small signals of an amplifier say: gain, gain-bandwidth, phase margin, poles, noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import UserError

__all__ = ["Loaded", "Margin", "gain_bandwidth", "loaded_gain", "margin", "white_and_corner"]

_LEAST_GAIN = 10.0
_LEAST_FALL = 0.01
"""Part of the gain that a load must take, to be told from what the analysis itself is off by."""


class Margin(NamedTuple):
    """Where an amplifier's gain has fallen to 1.

    Attributes:
        frequency: there, in hertz.
        degrees: phase that is left to 180 degrees.
        second_pole: frequency of the one pole that takes what the phase lacks to 90 degrees, in
            hertz; None where it lacks less than a degree.
    """

    frequency: float
    degrees: float
    second_pole: float | None


class Loaded(NamedTuple):
    """How a load lowers the gain.

    Attributes:
        gain: without a load.
        stage: resistance by which a load lowers it at low frequency alone, in ohms; None for none.
        series: resistance by which it lowers the gain at all frequencies, in ohms; None for none.
    """

    gain: float
    stage: float | None
    series: float | None


def gain_bandwidth(frequency: NDArray[np.float64], response: NDArray[np.complex128]) -> float:
    """Unity-gain frequency of the dominant pole, in hertz: gain times its frequency.

    Args:
        frequency: (points,), rising, in hertz.
        response: open-loop gain, (points,).

    Raises:
        UserError: no gain, or one of the other sign.
    """
    size = np.abs(response)
    first = response[0]
    if size[0] < _LEAST_GAIN or first.real <= 0:
        raise UserError(
            f"its open-loop gain at {frequency[0]:g} Hz is {first.real:.3g}: an amplifier's is "
            f"above {_LEAST_GAIN:g}. Its inputs may be the wrong way round, its bias missing, or "
            "its output at a supply"
        )
    # Well above the dominant pole, and below what comes at the gain of 1.
    wanted = math.sqrt(size[0])
    below = int(np.argmax(size < wanted))
    if size[below] >= wanted:
        raise UserError(
            f"its open-loop gain is still {size[-1]:.3g} at {frequency[-1]:g} Hz; that of an "
            f"amplifier falls below {wanted:.3g} before"
        )
    ratio = size[0] / size[below]
    return float(size[0] * frequency[below] / math.sqrt(ratio**2 - 1))


def margin(frequency: NDArray[np.float64], response: NDArray[np.complex128]) -> Margin:
    """Phase margin at a gain of 1, interpolated between the points.

    Args:
        frequency: (points,), rising, in hertz.
        response: open-loop gain, (points,).

    Raises:
        UserError: the gain doesn't fall below 1.
    """
    size = np.log(np.abs(response))
    after = int(np.argmax(size < 0))
    if size[after] >= 0 or after == 0:
        raise UserError(
            f"its open-loop gain is {math.exp(size[-1]):.3g} at {frequency[-1]:g} Hz; it must fall "
            "below 1 before"
        )
    part = size[after - 1] / (size[after - 1] - size[after])
    log = np.log(frequency)
    unity = math.exp(log[after - 1] + part * (log[after] - log[after - 1]))
    phase = np.degrees(np.unwrap(np.angle(response)))
    there = float(phase[after - 1] + part * (phase[after] - phase[after - 1]))
    lacking = math.radians(-90 - there)
    enough = math.radians(1) < lacking < math.radians(89)
    return Margin(unity, 180 + there, unity / math.tan(lacking) if enough else None)


def loaded_gain(loads: NDArray[np.float64], gains: NDArray[np.float64], series: float) -> Loaded:
    """Fit A = A0 / (1 + R G) / (1 + r G) to gains into several loads.

    Args:
        loads: conductances G, (loads,), in siemens; the first is that of no load.
        gains: at low frequency, (loads,).
        series: r, as the gain-bandwidth says it, in ohms.
    """
    fallen = gains[0] / gains.min() - 1
    if fallen < _LEAST_FALL:
        return Loaded(float(gains[0]), None, None)
    own = gains * (1 + series * loads)
    rows = np.stack([own, own * loads], axis=-1)
    inverse, slope = np.linalg.lstsq(rows, np.ones(len(loads)), rcond=None)[0]
    stage = slope / inverse
    heavy = float(loads.max())
    return Loaded(
        float(1 / inverse),
        float(stage) if stage * heavy > _LEAST_FALL else None,
        series if series * heavy > _LEAST_FALL else None,
    )


def white_and_corner(
    frequency: NDArray[np.float64], density: NDArray[np.float64]
) -> tuple[float, float]:
    """Fit e^2 = white^2 (1 + corner / f), with equal weight on every relative error.

    Args:
        frequency: (points,), in hertz.
        density: of the noise, (points,), in V/Hz^0.5, > 0.

    Returns:
        The white density in V/Hz^0.5 and the corner frequency in hertz, >= 0.
    """
    square = density**2
    rows = np.stack([1 / square, 1 / (frequency * square)], axis=-1)
    white, flicker = np.linalg.lstsq(rows, np.ones(len(square)), rcond=None)[0]
    if white <= 0:  # all of it is flicker noise, in this band
        return 0.0, math.inf
    return float(np.sqrt(white)), float(max(flicker / white, 0.0))
