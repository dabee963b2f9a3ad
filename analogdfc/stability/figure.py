"""The Bode figure of a control loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analogdfc.analysis.loop_gain import LoopGain
from analogdfc.analysis.settling.margins import Margins
from analogdfc.analysis.settling.rational import Complex
from analogdfc.circuit.design import Design
from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.plots import about, label
from analogdfc.stability.found import Stability

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito; of more curves those with the least margins are drawn."""

_MARKS = 12
"""Dots a decade of what a simulator gave."""

_FLOOR = -80.0
"""Decibels from which nothing is drawn."""


@own_settings()
def bode_figure(
    design: Design, found: Stability, seeds: tuple[int, int | None] | None = None
) -> Figure:
    """Gain and phase of the characteristic loci and of the channels, of the worst sample.

    Lines are the linearised equations, dots the netlist.

    Args:
        design: the design.
        found: its loops.
        seeds: of the samples and of the chip, for the heading; see `about`.
    """
    figure = new_figure(11, 7)
    first, *rest = about(design, seeds)
    k = found.worst
    loop = found.loops[k]
    stable = f"{loop.unstable} modes grow" if loop.unstable else _words(loop.gain.margins)
    headed(figure, f"{first}; sample {k + 1} of {len(found.loops)}: {stable}", *rest)
    axes = figure.subplots(2, 2, sharex=True)
    circuit = None if loop.circuit is None else loop.circuit.gain
    for column, kind in enumerate(("loci", "channels")):
        _bode(axes[0, column], axes[1, column], kind, loop.gain, circuit)
    return figure


def _words(margins: Margins) -> str:
    return f"gain margin {margins.gain:.4g}, phase margin {margins.degrees:.4g} degrees"


def _bode(gain: Axes, phase: Axes, kind: str, model: LoopGain, circuit: LoopGain | None) -> None:
    curves: Complex = getattr(model, kind)
    drawn = _least(curves)
    what = "characteristic locus" if kind == "loci" else "channel"
    for colour, k in zip(_COLOURS, drawn, strict=False):
        style: dict[str, Any] = {"color": colour, "label": f"{what} {k + 1}"}
        _draw(gain, phase, model, curves[:, k], style)
    if circuit is not None:
        measured: Complex = getattr(circuit, kind)
        every = max(1, round(_per_decade(circuit) / _MARKS))
        for k in drawn:
            name = "netlist (.ac)" if k == drawn[0] else "_"
            dots = {"color": "black", "linestyle": "none", "marker": ".", "markersize": 3.0}
            _draw(gain, phase, circuit, measured[:, k], {**dots, "label": name}, every)
    gain.axhline(0, color="0.6", linewidth=0.8)
    phase.axhline(-180, color="0.6", linewidth=0.8)
    whole = "loci: all channels alike" if kind == "loci" else "channels, the others closed"
    left_out = curves.shape[1] - len(drawn)
    more = f" ({left_out} more not drawn)" if left_out else ""
    label(gain, f"{whole}{more}", "", "gain (dB)")
    label(phase, "", "frequency (Hz)", "phase (degrees)")
    gain.set_xscale("log")
    gain.set_ylim(bottom=max(gain.get_ylim()[0], _FLOOR))
    phase.set_ylim(-360, 30)
    gain.legend(fontsize=8)


def _draw(
    gain: Axes,
    phase: Axes,
    loop: LoopGain,
    curve: Complex,
    style: Mapping[str, Any],
    every: int = 1,
) -> None:
    decibels = 20 * np.log10(np.abs(curve))
    # Where almost nothing is left, the phase says nothing.
    heard = decibels > _FLOOR
    angle = np.unwrap(np.angle(curve)) * 180 / math.pi
    at = np.flatnonzero(heard)[::every]
    gain.plot(loop.hertz[at], decibels[at], **style)
    phase.plot(loop.hertz[at], angle[at], **style)


def _least(curves: Complex) -> list[int]:
    """Numbers of the curves that come nearest to -1, in their order."""
    order = np.argsort(np.abs(1 + curves).min(axis=0))
    return sorted(int(k) for k in order[: len(_COLOURS)])


def _per_decade(loop: LoopGain) -> float:
    return (len(loop.hertz) - 1) / math.log10(loop.hertz[-1] / loop.hertz[0])
