"""Benches of an operational amplifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.characterise.bench import Bench
from analogdfc.characterise.sheet import Curve, Number, Sheet
from analogdfc.characterise.small_signal import (
    Loaded,
    Margin,
    gain_bandwidth,
    loaded_gain,
    margin,
    white_and_corner,
)
from analogdfc.characterise.spread import drawn, spread
from analogdfc.characterise.steps import Slew, settling, slew
from analogdfc.errors import UserError
from analogdfc.spice.writer import number

__all__ = ["characterise_opamp"]

_NO_LOAD = 1e12
_CAPACITANCE_AT = 1e6
"""Hertz at which the input capacitance is measured."""

_BAND = (100.0, 1e8)
_SWING_POINTS = 400
_KEPT = 0.99
"""Part of its gain that an inverting amplifier has at the ends of its swing."""

_FEEDBACK = 1e6
"""Ohms around the amplifier whose swing is measured, so that only the load counts."""


class _Loop(NamedTuple):
    """Open-loop gains, each (points,), by the load."""

    frequency: NDArray[np.float64]
    none: NDArray[np.complex128]
    stated: NDArray[np.complex128]
    heavy: NDArray[np.complex128]


@dataclass(frozen=True)
class _Swing:
    """Largest outputs of either sign, in volts; None where the output has no limit."""

    low: float | None
    high: float | None
    curve: Curve

    @property
    def smaller(self) -> float | None:
        return None if self.low is None or self.high is None else min(-self.low, self.high)


def characterise_opamp(bench: Bench) -> Sheet:
    """All that a data sheet has of an operational amplifier.

    Args:
        bench: of the cell 'opamp'.

    Raises:
        UserError: an amplifier without gain, that can't hold the signals of the card, or that
            doesn't settle; a netlist that the simulator refuses.
        ConvergenceError: no operating point.
    """
    c = bench.conditions
    loop = _open_loop(bench)
    bandwidth = gain_bandwidth(loop.frequency, loop.stated)
    here = margin(loop.frequency, loop.stated)
    loaded = _loaded(bench, loop)
    swing = _swing(bench)
    _check_swing(bench, swing)
    capacitance = _input_capacitance(bench)
    rates = slew(bench, swing.smaller, bandwidth, capacitance)
    step = settling(bench, bandwidth, capacitance)
    rest = _rest(bench)
    offset_sigma, offset_error = _mismatch(bench)
    frequency, density = _noise(bench, here.frequency)
    white, corner = white_and_corner(frequency, density)
    lowest = float(frequency[0])
    numbers = {
        **_gains(bench, loop, loaded, bandwidth, here),
        **_large(swing, rates, step.seconds),
        "offset_systematic": Number("offset, systematic", rest[1], "V", "mV"),
        **drawn(bench.drawn, offset_sigma, offset_error),
        "noise_white": Number("input noise, white", white, "V/Hz^0.5", "nV/Hz^0.5"),
        "noise_corner": Number("input noise, 1/f corner", corner, "Hz", "kHz"),
        "supply_current": Number("supply current at rest", rest[0], "A", "uA"),
        "input_capacitance": Number("input capacitance", capacitance, "F", "fF"),
    }
    entries = {
        "amplifier.gain": loaded.gain,
        "amplifier.stage_resistance": loaded.stage,
        "amplifier.output_resistance": loaded.series,
        "amplifier.gain_bandwidth": bandwidth,
        "amplifier.second_pole": here.second_pole,
        "amplifier.slew_rate": rates.slower,
        "amplifier.input_capacitance": capacitance or None,
        "amplifier.saturation": _promised(bench, swing),
        "amplifier.noise": white or None,
        "amplifier.noise_corner": corner if white and corner > lowest else None,
        **({"amplifier.offset": offset_sigma} if bench.drawn else {}),
        # An amplifier of ideal sources takes none, and says nothing of what one would.
        **({"amplifier.quiescent_current": rest[0]} if rest[0] > 0 else {}),
    }
    curves = {
        "gain, no load": Curve(loop.frequency, loop.none, "Hz", "1"),
        "gain, stated load": Curve(loop.frequency, loop.stated, "Hz", "1"),
        "gain, heavy load": Curve(loop.frequency, loop.heavy, "Hz", "1"),
        "transfer, heavy load": swing.curve,
        "step": step.curve,
        "input noise": Curve(frequency, density, "Hz", "V/Hz^0.5"),
    }
    return Sheet("opamp", c.about, numbers, curves, entries, bench.made_by)


def _gains(
    bench: Bench, loop: _Loop, loaded: Loaded, bandwidth: float, here: Margin
) -> dict[str, Number]:
    c = bench.conditions
    found = {
        "gain_no_load": Number("open-loop gain, no load", _decibels(loop.none), "dB"),
        "gain_stated_load": Number(
            f"open-loop gain, {c.load / 1e3:g} kohm", _decibels(loop.stated), "dB"
        ),
        "gain_heavy_load": Number(
            f"open-loop gain, {c.heavy_load / 1e3:g} kohm", _decibels(loop.heavy), "dB"
        ),
        "stage_resistance": Number(
            "stage resistance, by which a load lowers the gain", loaded.stage, "ohm", "kohm"
        ),
        "output_resistance": Number("output resistance", loaded.series, "ohm"),
        "gain_bandwidth": Number("gain-bandwidth", bandwidth, "Hz", "MHz"),
        "unity_gain_frequency": Number("unity-gain frequency", here.frequency, "Hz", "MHz"),
        "phase_margin": Number("phase margin", here.degrees, "degree"),
        "second_pole": Number("second pole, from that", here.second_pole, "Hz", "MHz"),
    }
    return found


def _large(swing: _Swing, rates: Slew, seconds: float) -> dict[str, Number]:
    return {
        "slew_rise": Number("slew rate, rising", rates.rise, "V/s", "V/us"),
        "slew_fall": Number("slew rate, falling", rates.fall, "V/s", "V/us"),
        "swing_high": Number("swing, upwards, heavy load", swing.high, "V"),
        "swing_low": Number("swing, downwards, heavy load", swing.low, "V"),
        "settling": Number("settling to 0.1 %", seconds, "s", "ns"),
    }


def _decibels(response: NDArray[np.complex128]) -> float:
    return 20 * math.log10(max(abs(response[0]), 1e-30))


def _open_loop(bench: Bench) -> _Loop:
    """Gains with the loop closed for the operating point alone, by an inductor beyond reach."""
    c = bench.conditions
    loads = {
        "a": [f"Ra oa 0 {number(_NO_LOAD)}"],
        "b": [f"Rb ob 0 {number(c.load)}", f"Cload ob 0 {number(c.load_capacitance)}"],
        "c": [f"Rc oc 0 {number(c.heavy_load)}"],
    }
    lines = ["Vin inp 0 dc 0 ac 1"]
    for k, load in loads.items():
        lines += [
            f"X{k} inp n{k} o{k} vdd vss opamp", f"L{k} o{k} n{k} 1e12", f"C{k} n{k} 0 1e12", *load
        ]  # fmt: skip
    found = bench.sweep("ac", lines, ".ac dec 20 0.1 1e10", ["oa", "ob", "oc"])
    return _Loop(found.points, *(found.signals[node] for node in ("oa", "ob", "oc")))


def _loaded(bench: Bench, loop: _Loop) -> Loaded:
    c = bench.conditions
    loads = np.array([0.0, 1 / c.load, 1 / c.heavy_load])
    gains = np.abs([loop.none[0], loop.stated[0], loop.heavy[0]])
    none, heavy = (gain_bandwidth(loop.frequency, r) for r in (loop.none, loop.heavy))
    return loaded_gain(loads, gains, max(none / heavy - 1, 0.0) * c.heavy_load)


def _swing(bench: Bench) -> _Swing:
    """Outputs at which the gain of an inverting amplifier has fallen by a hundredth."""
    c = bench.conditions
    most = 1.3 * c.card.amplifier.supply
    lines = [
        "Vin in 0 0", f"Rin in x {number(_FEEDBACK)}", f"Rf x out {number(_FEEDBACK)}",
        "X1 0 x out vdd vss opamp", f"Rload out 0 {number(c.heavy_load)}",
    ]  # fmt: skip
    step = 2 * most / _SWING_POINTS
    card = f".dc Vin {number(-most)} {number(most)} {number(step)}"
    found = bench.sweep("dc", lines, card, ["out"])
    x, out = found.points, found.signals["out"]
    slope = -np.gradient(out, x)
    middle = len(x) // 2
    least = _KEPT * slope[middle]
    ends: list[float | None] = []
    for side in (slice(middle, None), slice(middle, None, -1)):
        gain, volts = slope[side], out[side]
        first = int(np.argmax(gain < least))
        if gain[first] >= least:
            ends.append(None)
            continue
        part = (gain[first - 1] - least) / (gain[first - 1] - gain[first])
        ends.append(float(volts[first - 1] + part * (volts[first] - volts[first - 1])))
    return _Swing(ends[0], ends[1], Curve(x, out, "V", "V"))


def _check_swing(bench: Bench, swing: _Swing) -> None:
    card = bench.conditions.card
    needed = max(card.scale.activation, card.scale.control)
    if swing.smaller is not None and swing.smaller < needed:
        raise UserError(
            f"cell opamp: a supply of +-{card.amplifier.supply:g} V can't hold the swing: the "
            f"output reaches {swing.low:.3g} to {swing.high:.3g} V into "
            f"{bench.conditions.heavy_load / 1e3:g} kohm, and one unit of the signals is "
            f"{needed:g} V (card {card.card.name}, [scale])"
        )


def _promised(bench: Bench, swing: _Swing) -> float | None:
    """The swing for a card: no more than what the kit says that its cells can hold."""
    kit = bench.conditions.kit
    most = swing.smaller
    return most if kit is None or most is None else min(most, kit.swing)


def _input_capacitance(bench: Bench) -> float:
    lines = [
        "Vin in 0 dc 0 ac 1", "Cin in x 1", "X1 0 x out vdd vss opamp", "L1 out x 1e12",
    ]  # fmt: skip
    at = number(_CAPACITANCE_AT)
    found = bench.sweep("ac", lines, f".ac lin 1 {at} {at}", ["i(vin)"])
    current = -found.signals["i(vin)"][0].imag
    return max(float(current / (2 * math.pi * _CAPACITANCE_AT)), 0.0)


def _rest(bench: Bench) -> tuple[float, float]:
    """Supply current and systematic offset of a follower at rest."""
    found = bench.sweep("op", ["X1 0 f f vdd vss opamp"], ".op", ["f", "i(vdd)"])
    return -float(found.signals["i(vdd)"][0]), float(found.signals["f"][0])


def _mismatch(bench: Bench) -> tuple[float | None, float | None]:
    """Standard deviation of a follower's offset, and its error; none without mismatch."""
    if not bench.drawn:
        return None, None
    lines = [f"X{k} 0 f{k} f{k} vdd vss opamp" for k in range(bench.drawn)]
    nodes = [f"f{k}" for k in range(bench.drawn)]
    found = bench.sweep("op", lines, ".op", nodes, mismatch=True)
    return spread(np.array([found.signals[node][0] for node in nodes]))


def _noise(bench: Bench, unity: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density of a follower's noise, referred to its input, where it follows."""
    highest = min(_BAND[1], unity / 3)
    lowest = min(_BAND[0], highest / 1e3)
    card = f".noise v(f) Vin dec 10 {number(lowest)} {number(highest)}"
    lines = ["Vin in 0 dc 0 ac 1", "X1 in f f vdd vss opamp"]
    found = bench.sweep("noise", lines, card, ["inoise_spectrum"])
    return found.points, np.maximum(found.signals["inoise_spectrum"], 1e-30)
