"""How long a loop rings, and how small the errors of its time steps have to be for that.

A time step of second order damps and turns an oscillation by a little too much or too little, the
same in every period; what that does to a waveform adds up for as long as the oscillation lives.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.errors import ConvergenceError

__all__ = ["Linearised", "linearised", "step_tolerance", "turns"]

_UNNOTICED = 0.8
"""Periods of ringing up to which the usual tolerance of a time step leaves errors that are small
against those of the models."""

_STRICTEST = 2e-3
"""Least tolerance, as a part of the usual one: rounding is near."""


class Linearised(NamedTuple):
    """The linear loop of one sample.

    Attributes:
        values: eigenvalues, in 1 / (unit of the controller's time), slowest or least stable first.
        missing: why they are those at the free state and not at rest; None at rest.
    """

    values: NDArray[np.complex128]
    missing: ConvergenceError | None = None


def linearised(model: Behavioural, x: Tensor, step: Tensor) -> list[Linearised]:
    """The released loop of each sample of a chip, linear about its rest.

    Where there is no rest to linearise about it is that about the free state, at which the
    controller is released.

    Args:
        model: one chip.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
    """
    found = []
    for k in range(len(x)):
        one = x[k : k + 1], step[k : k + 1]
        try:
            found.append(Linearised(model.modes(*one)[0][0]))
        except ConvergenceError as error:
            found.append(Linearised(model.modes(*one, at_rest=False)[0][0], error))
    return found


def turns(values: NDArray[np.complex128], duration: float) -> float:
    """Periods that the longest ringing of a loop lasts, until it has fallen to 1 / e.

    Args:
        values: eigenvalues, per unit of time.
        duration: length of the run, which ends what doesn't decay.

    Returns:
        The largest number of periods of a mode; 0 where none oscillates.
    """
    alive = 1 / np.maximum(-values.real, 1 / duration)
    return float((np.abs(values.imag) * alive / (2 * math.pi)).max(initial=0.0))


def step_tolerance(values: NDArray[np.complex128], duration: float) -> float:
    """Tolerance of a time step that a loop needs, as a part of the usual one, at most 1.

    The error of a waveform goes with the periods that it rings and, in methods of second order,
    with the tolerance of a step to the power of 2/3.

    Args:
        values: eigenvalues, per unit of time.
        duration: length of the run.
    """
    rings = turns(values, duration)
    if not math.isfinite(rings):
        return _STRICTEST
    return max(_STRICTEST, math.pow(_UNNOTICED / max(rings, _UNNOTICED), 1.5))
