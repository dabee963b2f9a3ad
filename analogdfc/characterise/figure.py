"""The figure of a data sheet: one panel a bench, one colour a set of conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from analogdfc.characterise.sheet import Curve, Sheet
from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.plots import label

__all__ = ["sheet_figure"]

_Panel = Callable[[Axes, Sheet, str], None]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@own_settings()
def sheet_figure(sheets: Sequence[Sheet]) -> Figure:
    """Curves of one cell under one or several sets of conditions.

    Args:
        sheets: of the same cell, at least one.
    """
    panels = _PANELS[sheets[0].cell]
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(4.2 * columns, 3.4 * rows + 0.5)
    headed(figure, f"{sheets[0].cell}, characterised", *_conditions(sheets))
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis, panel in zip(axes, panels, strict=False):
        for k, sheet in enumerate(sheets):
            panel(axis, sheet, _COLOURS[k % len(_COLOURS)])
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return figure


def _conditions(sheets: Sequence[Sheet]) -> list[str]:
    return [
        sheet.conditions if len(sheets) == 1 else f"{_NAMES[k % len(_NAMES)]}: {sheet.conditions}"
        for k, sheet in enumerate(sheets)
    ]


_NAMES = ("blue", "red", "green", "pink", "orange", "light blue", "black")


def _lines(
    key: str, title: str, x: str, y: str, *, log: bool = False, by: tuple[float, float] = (1.0, 1.0)
) -> _Panel:
    """A panel of one curve."""

    def draw(axes: Axes, sheet: Sheet, colour: str) -> None:
        if key in sheet.curves:
            curve = sheet.curves[key]
            values = by[1] * np.real(curve.y)
            axes.plot(by[0] * curve.x, values, color=colour, linewidth=1.4)
            if log:  # white noise alone has no extent
                low, high = axes.get_ylim() if len(axes.lines) > 1 else (np.inf, 0.0)
                axes.set(xscale="log", yscale="log")
                axes.set_ylim(min(low, values.min() / 2), max(high, values.max() * 2))
        label(axes, title, x, y)

    return draw


_STYLES = {"gain, no load": ":", "gain, stated load": "-", "gain, heavy load": "--"}


def _gain(axes: Axes, sheet: Sheet, colour: str) -> None:
    for key, style in _STYLES.items():
        curve = sheet.curves[key]
        size = 20 * np.log10(np.abs(curve.y))
        axes.semilogx(curve.x, size, style, color=colour, linewidth=1.2)
    axes.set_ylim(-40, None)
    label(axes, "open-loop gain: no, stated, heavy load (.. - --)", "frequency (Hz)", "gain (dB)")


def _phase(axes: Axes, sheet: Sheet, colour: str) -> None:
    curve: Curve = sheet.curves["gain, stated load"]
    axes.semilogx(curve.x, np.degrees(np.unwrap(np.angle(curve.y))), color=colour, linewidth=1.2)
    axes.set_ylim(-270, 10)
    label(axes, "its phase, stated load", "frequency (Hz)", "phase (degrees)")


_PANELS: dict[str, tuple[_Panel, ...]] = {
    "opamp": (
        _gain,
        _phase,
        _lines("transfer, heavy load", "inverting, heavy load", "input (V)", "output (V)"),
        _lines("step", "step, inverting", "time (us)", "output (V)", by=(1e6, 1.0)),
        _lines(
            "input noise",
            "input noise",
            "frequency (Hz)",
            "density (nV/Hz^0.5)",
            log=True,
            by=(1.0, 1e9),
        ),
    ),
    "tanh": (
        _lines("transfer", "current", "input (V)", "current drawn (uA)", by=(1.0, 1e6)),
        _lines("error", "less the fitted tanh", "input (V)", "error (%)", by=(1.0, 100.0)),
    ),
    "switch": (
        _lines("on-resistance", "closed", "voltage (V)", "resistance (kohm)", by=(1.0, 1e-3)),
        _lines("opening", "as it opens, on 10 pF", "time (us)", "voltage (mV)", by=(1e6, 1e3)),
    ),
    "hold": (_lines("opening", "from track to hold", "time (us)", "output (mV)", by=(1e6, 1e3)),),
}
