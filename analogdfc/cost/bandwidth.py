"""Settling against the bandwidth of the amplifiers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from analogdfc.analysis.settling import predict
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.errors import ConvergenceError, UserError

__all__ = ["AtBandwidth", "against_bandwidth"]


class AtBandwidth(NamedTuple):
    """Settling with another amplifier.

    Attributes:
        hertz: its gain-bandwidth.
        control: settling time of the control signal, in seconds; nan where it doesn't settle.
        update: time that the update needs, in seconds; nan where it doesn't settle.
        reason: why it doesn't, else empty.
    """

    hertz: float
    control: float
    update: float
    reason: str = ""


def against_bandwidth(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    factors: Sequence[float],
    *,
    accuracy: float = 1.0,
    state: StaticState | None = None,
    known: AtBandwidth | None = None,
    progress: Callable[[], object] | None = None,
) -> list[AtBandwidth]:
    """Settling while the amplifier is scaled as a whole (`with_bandwidth`).

    Args:
        design: the design; its card needs a finite gain-bandwidth.
        seed: seed of the chip.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        factors: of the card's gain-bandwidth.
        accuracy: of the update, in degrees.
        state: as in `estimate`.
        known: the point of the factor 1, where it is known already.
        progress: called after each.

    Raises:
        UserError: an infinitely fast amplifier.
    """
    own = design.card.amplifier.gain_bandwidth
    if own is None:
        raise UserError("[amplifier] gain_bandwidth: the card has none that could be varied")
    if state is None:
        state = StaticChip.of(Chip.of(design, seed)).solve(x, step)

    def point(hertz: float) -> AtBandwidth:
        other = design.on(with_bandwidth(design.card, hertz))
        try:
            found = predict(other, seed, x, step, limits=False, state=state)
        except ConvergenceError as error:
            return AtBandwidth(hertz, math.nan, math.nan, str(error))
        times = float(found.time.max()), float(found.update_time(accuracy).max())
        return AtBandwidth(hertz, *times)

    points = []
    for factor in factors:
        points.append(known if known and factor == 1 else point(factor * own))
        if progress is not None:
            progress()
    return points
