"""Benches of a tanh cell."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analogdfc.characterise.bench import Bench
from analogdfc.characterise.sheet import Curve, Number, Sheet
from analogdfc.characterise.spread import drawn, spread
from analogdfc.circuit.scaling import ABSOLUTE_ZERO
from analogdfc.errors import UserError
from analogdfc.spice.writer import number

__all__ = ["characterise_tanh"]

_FITTED = 3.0
"""Units of v, to either side, in which a tanh is fitted."""

_POINTS = 301
_APART = 10.0
"""Kelvins to either side between which a temperature coefficient is measured."""

_WORST = 0.1
"""Part of the largest current by which a cell may differ from a tanh, and still be one."""

_LEAST_DRIFT = 1e-6
"""Per kelvin; less is what a simulator's tolerances leave of none."""

_LEAST_LOAD = 1e-12
"""Siemens below which an input conducts nothing but what the simulator adds."""


class Fit(NamedTuple):
    """I tanh((V + offset) / scale), fitted to a cell.

    Attributes:
        current: I, in amperes.
        offset: in volts.
        scale: in volts.
        shape: largest difference, as a part of I.
    """

    current: float
    offset: float
    scale: float
    shape: float


def characterise_tanh(bench: Bench) -> Sheet:
    """All that a data sheet has of a tanh cell.

    Args:
        bench: of the cell 'tanh_cell'.

    Raises:
        UserError: a cell that isn't a tanh, or of the other sign; a netlist that the simulator
            refuses.
        ConvergenceError: no operating point.
    """
    c = bench.conditions
    volts, out, into, supply = _transfer(bench)
    fit = _fitted(volts, out, c.card.scale.activation)
    near = np.abs(volts) <= fit.scale
    slope = float(np.polyfit(volts[near], into[near], 1)[0])
    resistance = 1 / slope if slope > _LEAST_LOAD else None
    cold, hot = (
        _fitted(*_transfer(bench.at(c.celsius + part))[:2], c.card.scale.activation)
        for part in (-_APART, _APART)
    )
    offsets, currents = _draws(bench, fit)
    sigma, error = spread(offsets) if bench.drawn else (None, None)
    numbers = {
        "scale": Number("scale: input of tanh(1)", fit.scale, "V"),
        "current": Number("largest current", fit.current, "A", "uA"),
        "shape_error": Number("shape error, of the largest current", 100 * fit.shape, "%"),
        "offset_systematic": Number("offset, systematic", fit.offset, "V", "mV"),
        **drawn(bench.drawn, sigma, error),
        **_of_current(currents),
        "input_resistance": Number("input resistance", resistance, "ohm", "kohm"),
        "scale_drift": Number(
            "scale, temperature coefficient", _drift(cold.scale, hot.scale), "1/K"
        ),
        "current_drift": Number(
            "current, temperature coefficient", _drift(cold.current, hot.current), "1/K"
        ),
        "supply_current": Number("supply current at rest", supply, "A", "uA"),
    }
    entries = _entries(bench, fit, resistance, sigma)
    if bench.drawn:
        entries["tanh.current_mismatch"] = (numbers["current_sigma"].value or 0.0) / 100
    for key in ("scale_drift", "current_drift"):
        drift = numbers[key].value or 0.0
        entries[f"tanh.{key}"] = drift if abs(drift) > _LEAST_DRIFT else None
    ideal = fit.current * np.tanh((volts + fit.offset) / fit.scale)
    curves = {
        "transfer": Curve(volts, out, "V", "A"),
        "error": Curve(volts, (out - ideal) / fit.current, "V", "1"),
    }
    return Sheet("tanh", c.about, numbers, curves, entries, bench.made_by)


def _entries(
    bench: Bench, fit: Fit, resistance: float | None, sigma: float | None
) -> dict[str, float | None]:
    return {
        "tanh.peak_current": fit.current,
        "tanh.scale": fit.scale,
        "tanh.input_resistance": resistance,
        "tanh.reference": bench.conditions.celsius - ABSOLUTE_ZERO,
        **({"tanh.offset": sigma} if bench.drawn else {}),
    }


def _drift(cold: float, hot: float) -> float:
    return math.log(hot / cold) / (2 * _APART)


def _transfer(
    bench: Bench,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Input volts, current drawn at the output and at the input, and supply current at rest."""
    most = 1.2 * _FITTED * bench.conditions.card.scale.activation
    step = number(2 * most / (_POINTS - 1))
    found = bench.sweep(
        "dc",
        ["Vin in 0 0", "Vout o 0 0", "X1 in 0 o vdd vss tanh_cell"],
        f".dc Vin {number(-most)} {number(most)} {step}",
        ["i(vin)", "i(vout)", "i(vdd)"],
    )
    volts, signals = found.points, found.signals
    supply = -float(np.interp(0.0, volts, signals["i(vdd)"]))
    return volts, -signals["i(vout)"], -signals["i(vin)"], supply


def _fitted(volts: NDArray[np.float64], out: NDArray[np.float64], unit: float) -> Fit:
    """The tanh that a cell's current is closest to.

    Args:
        volts: at its input, (points,).
        out: current, (points,), in amperes.
        unit: about the cell's scale, in volts.

    Raises:
        UserError: it is none.
    """
    most = float(np.ptp(out)) / 2
    if not most > 0 or out[-1] < out[0]:
        raise UserError(
            f"cell tanh_cell: its output draws {out[0]:.3g} A at {volts[0]:.3g} V and "
            f"{out[-1]:.3g} A at {volts[-1]:.3g} V; a tanh cell draws more where V(inp, inn) is "
            "larger. Its inputs may be the wrong way round"
        )
    near = np.abs(volts) <= _FITTED * unit

    x, y = volts[near] / unit, out[near] / most

    def apart(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(p[0] * np.tanh((x + p[1]) / p[2]) - y)

    found = least_squares(apart, (1.0, 0.0, 1.0))
    a, b, s = found.x
    worst = float(np.abs(found.fun).max() / a) if a > 0 and s > 0 else math.inf
    if not worst <= _WORST:
        raise UserError(
            "cell tanh_cell: its current is no tanh of its input: the closest one is off by "
            f"{100 * worst:.3g} % of the largest current; {100 * _WORST:g} % is allowed"
        )
    if s > _FITTED:  # a straight line is a tanh of any large scale
        raise UserError(
            f"cell tanh_cell: its current doesn't level off within {_FITTED * unit:g} V; a tanh "
            f"cell's does, whose scale is about {unit:g} V (the card's [scale] activation)"
        )
    return Fit(float(a * most), float(b * unit), float(s * unit), worst)


def _of_current(currents: NDArray[np.float64]) -> dict[str, Number]:
    """The line of a data sheet about the current's mismatch; none where nothing was drawn."""
    if not len(currents):
        return {}
    name = f"largest current, mismatch (standard deviation of {len(currents)})"
    sigma, error = spread(currents / float(np.mean(currents)))
    return {"current_sigma": Number(name, 100 * sigma, "%", error=100 * error)}


def _draws(bench: Bench, fit: Fit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets and largest currents of all copies that are drawn, in volts and amperes."""
    names = [f"vo{k}" for k in range(bench.drawn)]
    if not names:
        return np.zeros(0), np.zeros(0)
    lines = ["Vin in 0 0"]
    for k, name in enumerate(names):
        lines += [f"X{k} in 0 o{k} vdd vss tanh_cell", f"{name} o{k} 0 0"]
    most, step = number(_FITTED * fit.scale), number(fit.scale / 4)
    save = [f"i({name})" for name in names]
    found = bench.sweep("dc", lines, f".dc Vin -{most} {most} {step}", save, mismatch=True)
    draws = [-found.signals[name] for name in save]
    offsets = [-np.interp(0.0, out, found.points) for out in draws]
    currents = [_fitted(found.points, out, fit.scale).current for out in draws]
    return np.array(offsets), np.array(currents)
