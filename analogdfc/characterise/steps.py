"""An amplifier's answers to steps: slew rate and settling."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.characterise.bench import Bench
from analogdfc.characterise.sheet import Curve
from analogdfc.errors import UserError
from analogdfc.spice.writer import number

__all__ = ["Slew", "Step", "settling", "slew"]

_POINTS = 400
"""Time steps of a half period, at least."""

_LONGER = 4.0
_LONGEST = 8
"""How often the time is made longer, until the output has settled."""

_LINEAR = 1.7
"""A step twice as large that is faster by more than this is not limited by a slew rate."""

_WITHIN = 1e-3


class Slew(NamedTuple):
    """Slew rates, in V/s; None of an amplifier that larger steps make as much faster."""

    rise: float | None
    fall: float | None

    @property
    def slower(self) -> float | None:
        """The slower of the two."""
        known = [rate for rate in (self.rise, self.fall) if rate is not None]
        return min(known) if known else None


class Step(NamedTuple):
    """A small step and the time after which it stays within 0.1 % of its end, in seconds."""

    seconds: float
    curve: Curve


class _Square(NamedTuple):
    """One period of an inverting amplifier: its output falls at `down` and rises at `up`."""

    time: NDArray[np.float64]
    out: NDArray[np.float64]
    down: float
    up: float


def slew(bench: Bench, swing: float | None, bandwidth: float, capacitance: float) -> Slew:
    """Fastest rates within a large step.

    Args:
        bench: of the amplifier.
        swing: what the output reaches to either side, in volts; None for no limit.
        bandwidth: gain-bandwidth, in hertz.
        capacitance: at the inverting input, in farads.
    """
    most = bench.conditions.card.amplifier.supply if swing is None else swing
    large, half = (
        _rates(_square(bench, part * most, bandwidth, capacitance), part * most)
        for part in (0.6, 0.3)
    )
    both = [a if a < _LINEAR * b else None for a, b in zip(large, half, strict=True)]
    return Slew(*both)


def settling(bench: Bench, bandwidth: float, capacitance: float) -> Step:
    """A step of one unit of v.

    Args:
        bench: of the amplifier.
        bandwidth: gain-bandwidth, in hertz.
        capacitance: at the inverting input, in farads.
    """
    size = bench.conditions.card.scale.activation
    found = _square(bench, size / 2, bandwidth, capacitance)
    rising = found.time >= found.up
    time, out = found.time[rising] - found.up, found.out[rising]
    outside = np.flatnonzero(np.abs(out - out[-1]) > _WITHIN * size)
    last = min(int(outside[-1]) + 1, len(time) - 1) if len(outside) else 0
    return Step(float(time[last]), Curve(time, out, "s", "V"))


def _rates(square: _Square, amplitude: float) -> tuple[float, float]:
    """Fastest rising and falling over a tenth of the step, in V/s."""
    levels = np.linspace(-0.8, 0.8, 9) * amplitude
    found = []
    for start, sign in ((square.up, 1.0), (square.down, -1.0)):
        after = square.time >= start
        time, out = square.time[after], sign * square.out[after]
        crossings = np.array([_crossing(time, out, level) for level in levels])
        found.append(float((np.diff(levels) / np.diff(crossings)).max()))
    return found[0], found[1]


def _crossing(time: NDArray[np.float64], out: NDArray[np.float64], level: float) -> float:
    after = max(int(np.argmax(out > level)), 1)
    low, high = out[after - 1], out[after]
    return float(time[after - 1] + (level - low) / (high - low) * (time[after] - time[after - 1]))


def _square(bench: Bench, amplitude: float, bandwidth: float, capacitance: float) -> _Square:
    """An inverting amplifier of gain 1, driven from one side to the other and back."""
    c = bench.conditions
    # As the amplifiers of a circuit are compensated.
    around = math.sqrt(capacitance / (2 * math.pi * bandwidth * c.load))
    half = 20 / bandwidth
    for _ in range(_LONGEST):
        edge = 1e-3 * min(half, 1 / bandwidth)
        a = number(amplitude)
        times = [number(t) for t in (half, half + edge, 2 * half, 2 * half + edge)]
        lines = [
            f"Vin in 0 PWL(0 -{a} {times[0]} -{a} {times[1]} {a} {times[2]} {a} {times[3]} -{a})",
            f"Rin in x {number(c.load)}", f"Rf x out {number(c.load)}",
            *([f"Cf x out {number(around)}"] if around else []),
            "X1 0 x out vdd vss opamp", f"Cload out 0 {number(c.load_capacitance)}",
        ]  # fmt: skip
        found = bench.transient(lines, 3 * half, half / _POINTS, ["out"])
        square = _Square(found.time, found.signals["out"], half, 2 * half)
        if _settled(square, half, amplitude):
            return square
        half *= _LONGER
    raise UserError(
        f"cell opamp: as an inverting amplifier of gain 1 it doesn't settle in {half:.3g} s: "
        "unstable, or too slow for its bandwidth"
    )


def _settled(square: _Square, half: float, amplitude: float) -> bool:
    """Whether both halves have ended where they must, and no longer move."""
    for start, sign in ((square.down, -1.0), (square.up, 1.0)):
        last = (square.time > start + 0.8 * half) & (square.time <= start + half)
        out = square.out[last]
        if np.ptp(out) > 0.2 * _WITHIN * amplitude or sign * out[-1] < 0.7 * amplitude:
            return False
    return True
