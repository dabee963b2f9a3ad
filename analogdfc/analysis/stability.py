"""Where the loop of a chip loses its stability, and how fast an oscillation grows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.dynamics import Trajectory
from analogdfc.errors import ConvergenceError, UserError

Array = NDArray[np.float64]

PER_DECADE = 8
"""Bandwidths tried in each decade on the search for the limit."""

_WIDE_RANGE = 8.0
"""Ratio of the largest to the smallest size from which the largest ones can be left out."""


def slowest_mode(
    design: Design, seed: int | None, x: Tensor, step: Tensor, *, oscillating: bool = False
) -> float:
    """Largest real part of the released loop's eigenvalues, over all samples.

    Of the full amplifier model, linearised at its steady state.

    Args:
        design: the design.
        seed: seed of the chip; None for nominal components.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        oscillating: look only at the modes that oscillate, as `growth_rate` does.

    Returns:
        In 1 / (unit of the controller's time); positive where the loop is unstable.

    Raises:
        ConvergenceError: no steady state was found, or no mode oscillates.
    """
    modes = Behavioural([Chip.of(design, seed)], Rung.FULL).modes(x, step)
    values = np.concatenate(modes[0])
    if oscillating:
        values = values[np.abs(values.imag) > 1e-6 * np.abs(values)]
    if not len(values):
        raise ConvergenceError("no mode of the loop oscillates")
    return float(values.real.max())


def critical_bandwidth(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    *,
    between: tuple[float, float] = (0.1, 1e4),
    tolerance: float = 1e-6,
) -> float:
    """Gain-bandwidth below which the loop of a chip is unstable.

    Comes down from the upper end of the range to the first bandwidth at which the slowest mode
    (`slowest_mode`) grows, and closes in on its change of sign. The amplifier is scaled as a
    whole (`with_bandwidth`). Below the limit the loop may be stable again; above it, up to the
    end of the range, it is stable for all samples.

    Args:
        design: the design; its card needs a finite gain-bandwidth.
        seed: seed of the chip; None for nominal components.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        between: the range searched, as products of gain-bandwidth (in hertz) and tau_v.
        tolerance: relative error of the result.

    Returns:
        In hertz.

    Raises:
        UserError: an infinitely fast amplifier, or a range that is none.
        ConvergenceError: the loop is stable, or unstable, all over the range.
    """
    low, high = between
    if not 0 < low < high < math.inf:
        raise UserError(f"range {between}: two numbers, 0 < low < high, are needed")

    def growth(log_bandwidth: float) -> float:
        card = with_bandwidth(design.card, 10**log_bandwidth)
        return slowest_mode(design.on(card), seed, x, step)

    count = max(2, math.ceil(PER_DECADE * math.log10(high / low)) + 1)
    tried = np.log10(np.geomspace(high, low, count) / design.tau_v_seconds).tolist()
    if growth(tried[0]) >= 0:
        raise ConvergenceError(
            f"the loop is unstable even at a gain-bandwidth of {high:g} / tau_v "
            f"({10 ** tried[0]:.4g} Hz); lower k_p or the feedback weights"
        )
    for above, below in itertools.pairwise(tried):
        if growth(below) >= 0:
            return float(
                10 ** scipy.optimize.brentq(growth, below, above, xtol=tolerance / math.log(10))
            )
    raise ConvergenceError(
        f"the loop is stable all over the range, down to a gain-bandwidth of {low:g} / tau_v "
        f"({10 ** tried[-1]:.4g} Hz)"
    )


def growth_rate(trajectory: Trajectory, *, floor: float = 1e-7, ceiling: float = math.inf) -> float:
    """Growth of the oscillation of the control signal u.

    The slow part of u is taken off by moving means over one period of the oscillation, whose
    frequency is that of the strongest line in the spectrum; the rate is the median slope
    (Theil and Sen) of the logarithm of what is left, rms in windows of a period, against time.
    Only windows count in which the oscillation stands above the numeric noise and lies well below
    its largest size, at which a growing one may be held by slewing or rails, and a decaying one
    still has the other modes that the release has set off.

    Args:
        trajectory: a run that shows several periods, with several points each. Samples and
            channels are pooled.
        floor: rms below which the oscillation is numeric noise, in units of u.
        ceiling: rms above which the amplifiers are no longer linear, in units of u.

    Returns:
        The exponent sigma of exp(sigma t), in 1 / (unit of the controller's time); positive for
        a growing oscillation.

    Raises:
        ConvergenceError: fewer than five windows hold an oscillation within these bounds.
    """
    u = trajectory.u.transpose(1, 2).flatten(0, 1).to("cpu", torch.float64).numpy()
    dt = float(trajectory.t[1] - trajectory.t[0])
    period = _period(u)
    # Once leaves a trace of a slow mode's curvature, twice does not.
    fast = _without_mean(_without_mean(u, period), period)
    count = fast.shape[1] // period
    windows = fast[:, : count * period].reshape(len(fast), count, period)
    size: Array = np.sqrt(np.square(windows).mean(axis=(0, 2)))
    kept = _kept(size, floor, ceiling)
    if len(kept) < 5:
        raise ConvergenceError(
            f"u shows an oscillation between {floor:g} and {ceiling:g} in {len(kept)} periods; "
            "at least 5 are needed to see whether it grows"
        )
    rate = _median_slope(kept.astype(np.float64), np.log(size[kept]))
    return rate / (period * dt)


def _period(u: Array) -> int:
    """Points in a period of the strongest oscillation of the rows of u."""
    rows = np.diff(u, 2, axis=1)  # the slow modes are large in u, but not curved
    rows = (rows - rows.mean(axis=1, keepdims=True)) * np.hanning(rows.shape[1])
    power = np.square(np.abs(np.fft.rfft(rows, axis=1))).sum(axis=0)
    power[: min(4, len(power))] = 0  # the slow modes' place
    line = int(np.argmax(power))
    points: int = rows.shape[1]
    return max(4, round(points / line)) if line else max(4, points)


def _without_mean(u: Array, period: int) -> Array:
    """The rows less their moving mean over a period, without the ends where that is unknown."""
    width = period | 1  # odd, so that the mean sits on a point
    sums = np.cumsum(np.pad(u, ((0, 0), (1, 0))), axis=1)
    mean = (sums[:, width:] - sums[:, :-width]) / width
    return u[:, width // 2 : u.shape[1] - width // 2] - mean


def _kept(size: Array, floor: float, ceiling: float) -> NDArray[np.intp]:
    """The windows that follow each other without a gap between noise and saturation."""
    if len(size) < 2:
        return np.zeros(0, dtype=np.intp)
    half = len(size) // 2
    growing = np.median(size[half:]) > np.median(size[:half])
    # Read backwards, a growing oscillation decays.
    order = np.arange(len(size))[:: -1 if growing else 1]
    if size.max() > _WIDE_RANGE * size.min():
        order = order[int(np.argmax(size[order])) :]
        order = order[int(np.argmax(size[order] < size[order[0]] / 2)) :]
    outside = ~((size[order] > floor) & (size[order] < ceiling))
    first = int(np.argmax(~outside))  # the ceiling lies before it, the floor behind
    end = first + int(np.argmax(np.append(outside[first:], True)))
    return np.sort(order[first:end]) if not outside[first] else np.zeros(0, dtype=np.intp)


def _median_slope(t: Array, y: Array) -> float:
    """Median of the slopes of all pairs of points (Theil and Sen)."""
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((y[j] - y[i]) / (t[j] - t[i])))
