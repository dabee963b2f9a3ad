"""Benches of what switches: the reset switch of a controller, and a track and hold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.characterise.bench import Bench
from analogdfc.characterise.sheet import Curve, Number, Sheet
from analogdfc.errors import UserError
from analogdfc.spice.writer import card_parameters, number

__all__ = ["characterise_hold", "characterise_switch"]

_CURRENT = 1e-6
"""Amperes through a closed switch."""

_POINTS = 101
_CAPACITOR = 10e-12
"""Farads that an opening switch injects its charge into."""

_EDGE = 1e-9
_TRACKED = 2e-6
"""Seconds that a hold tracks before it holds."""

_AFTER = 100e-9
"""Seconds after an edge at which what it couples has been coupled."""

_MOST_OHM = 1e9


class _Opened(NamedTuple):
    """A voltage as a switch opens at time 0.

    Attributes:
        step: volts by which the opening moves it.
        feedthrough: volts by which it moves with the other end of the switch, over what that does.
        droop: volts per second afterwards.
        curve: the voltage.
    """

    step: float
    feedthrough: float
    droop: float
    curve: Curve


def characterise_switch(bench: Bench) -> Sheet:
    """On-resistance, injected charge and droop of a reset switch.

    Args:
        bench: of the cell 'switch'.

    Raises:
        UserError: a switch that doesn't close; a netlist that the simulator refuses.
        ConvergenceError: no operating point.
    """
    c = bench.conditions
    volts, ohms = _on_resistance(bench)
    middle = float(np.interp(0.0, volts, ohms))
    within = np.abs(volts) <= max(c.card.scale.control, c.card.scale.activation)
    # As the switch of a controller: it opens at 0 V, then one end moves away.
    lines = ["X1 in c rst switch", f"Cc c 0 {number(_CAPACITOR)}"]
    opened = _opened(bench, lines, "c", (0.0, c.card.scale.control))
    numbers = {
        "on_resistance": Number("on-resistance at 0 V", middle, "ohm"),
        "on_resistance_largest": Number(
            "on-resistance, largest within the signals", float(ohms[within].max()), "ohm"
        ),
        "injected_charge": Number("injected charge", opened.step * _CAPACITOR, "C", "fC"),
        "leakage": Number(
            f"current of the open switch at {c.card.scale.control:g} V",
            opened.droop * _CAPACITOR, "A", "fA",
        ),
    }  # fmt: skip
    curves = {"on-resistance": Curve(volts, ohms, "V", "ohm"), "opening": opened.curve}
    return Sheet("switch", c.about, numbers, curves, {"passive.r_switch": middle}, bench.made_by)


def characterise_hold(bench: Bench) -> Sheet:
    """Step, droop and acquisition of a track and hold.

    Args:
        bench: of the cell 'hold'.

    Raises:
        UserError: a hold that doesn't track; a netlist that the simulator refuses.
        ConvergenceError: no operating point.
    """
    c = bench.conditions
    held = c.card.scale.activation
    opened = _opened(bench, ["X1 in out rst hold"], "out", (held, -held))
    error = float(opened.curve.y[0]) - held
    if abs(error) > 0.1 * held:
        raise UserError(
            f"cell hold: while it tracks {held:g} V its output is {held + error:.3g} V; it must "
            "follow while rst is 1 V"
        )
    capacitance = card_parameters(c.card, "transistor", c.card.scale.time)["c_hold"]
    numbers = {
        "tracking_error": Number("error while it tracks", error, "V", "uV"),
        "held_step": Number(f"step as it holds {held:g} V", opened.step, "V", "uV"),
        "injected_charge": Number(
            f"the same as a charge on {1e12 * capacitance:g} pF", opened.step * capacitance, "C",
            "fC",
        ),
        "feedthrough": Number("feedthrough of the input as it holds", opened.feedthrough, "1"),
        "droop": Number(f"droop, input at {-held:g} V", opened.droop, "V/s"),
    }  # fmt: skip
    return Sheet("hold", c.about, numbers, {"opening": opened.curve}, {}, bench.made_by)


def _on_resistance(bench: Bench) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ohms of the closed switch by the voltage at it; the current flows into its end at `a`."""
    most = bench.conditions.card.amplifier.supply
    lines = ["Vrst rst 0 1", "Vend b 0 0", f"Ia 0 a {number(_CURRENT)}", "X1 a b rst switch"]
    card = f".dc Vend {number(-most)} {number(most)} {number(2 * most / (_POINTS - 1))}"
    found = bench.sweep("dc", lines, card, ["a", "b"])
    ohms = (found.signals["a"] - found.signals["b"]) / _CURRENT
    if not float(np.interp(0.0, found.points, ohms)) < _MOST_OHM:
        raise UserError("cell switch: it doesn't close while rst is 1 V")
    return found.points, ohms


def _opened(bench: Bench, lines: list[str], node: str, ends: tuple[float, float]) -> _Opened:
    """What an opening does to a node, then a move of the other end, and what comes after it.

    Args:
        bench: of the cell.
        lines: the circuit; the other end of the switch is `in`.
        node: the node.
        ends: volts at `in`, first and last.
    """
    seconds = bench.conditions.card.scale.time
    moves, moved = _TRACKED + 2 * _AFTER, _TRACKED + 3 * _AFTER
    first, last = (number(volts) for volts in ends)
    sources = [
        f"Vrst rst 0 PWL(0 1 {number(_TRACKED)} 1 {number(_TRACKED + _EDGE)} 0)",
        f"Vend in 0 PWL(0 {first} {number(moves)} {first} {number(moves + _EDGE)} {last})",
    ]
    stop = moved + 4 * seconds
    found = bench.transient([*lines, *sources], stop, seconds / 50, [node])
    time, volts = found.time, found.signals[node]
    at = [_TRACKED - _EDGE, _TRACKED + _AFTER, moves - _EDGE, moved, float(time[-1])]
    before, opened, still, after, end = np.interp(at, time, volts).tolist()
    shown = time >= _TRACKED - _AFTER
    return _Opened(
        opened - before,
        (after - still) / (ends[1] - ends[0]),
        (end - after) / (at[-1] - moved),
        Curve(time[shown] - _TRACKED, volts[shown], "s", "V"),
    )
