"""Linear waveforms of one sample after the release, and when they have settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex, Modal, poles
from analogdfc.analysis.settling.spectrum import LoopSpectrum, Modes
from analogdfc.analysis.settling.transfer import OperatingPoint
from analogdfc.circuit.description import LayerTaps, Tap

Array = NDArray[np.float64]

_Signals = TypeVar("_Signals", Array, Complex)

_POINTS = 3000

_SHOWN = 1e-3
"""Size of a term of the control signal, relative to the largest, from which it is a mode's."""


class Waveforms:
    """One sample's deviations from rest in time.

    Args:
        spectrum: of the loop, which must be stable.
        point: its operating point, a batch of one.
        x: its input, (n_0,), dimensionless.
        band: half width of the band around the final control signal, relative to its size.
        rate: of the slowest mode about, where it need not be found, in rad/s.
    """

    def __init__(
        self,
        spectrum: LoopSpectrum,
        point: OperatingPoint,
        x: Array,
        band: float,
        *,
        rate: float | None = None,
    ) -> None:
        self.spectrum, self.point, self.x, self.band = spectrum, point, x, band
        self._rate = rate
        self._design = spectrum.loop.chip.design
        self._circuit = spectrum.loop.chip.circuit
        self._scale = float(np.abs(point.rest[self._circuit.control.u.bank]).max())

    # The control signal

    @cached_property
    def _control(self) -> Modal:
        return self.spectrum.modal(self.spectrum.response[self._circuit.control.u.bank])

    @cached_property
    def _modes(self) -> Modes:
        return self.spectrum.modes()

    @property
    def slowest(self) -> complex:
        """The slowest mode of the loop, in rad/s."""
        if len(self._modes.values):
            return complex(self._modes.values[0])
        size = self._control.shown(self.spectrum.s)
        shown = self._control.poles[size > _SHOWN * size.max()]
        return complex(shown[shown.real.argmax()])

    def _horizon(self, rate: float) -> Array:
        """Times from the release until a mode of that rate has left any band."""
        end = (math.log(1 / self.band) + 12) / rate
        early = np.geomspace(1e-6 * end, end / _POINTS, 200)
        return np.concatenate([[0.0], early, np.linspace(0, end, _POINTS)[2:]])

    @cached_property
    def _times(self) -> Array:
        rate = -self.slowest.real if self._rate is None else self._rate
        # What control doesn't reach takes the time of a neuron alone.
        return self._horizon(min(rate, 1 / self._design.tau_v_seconds))

    @cached_property
    def time_of_modes(self) -> float:
        """Seconds after which the control signal stays within the band."""
        return _last_above(self._times, self._size(self._control.at), 1.0)

    def _size(self, signal: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """Largest deviation of a channel, in units of the band."""
        unit = self.band * self._scale
        return lambda t: np.abs(signal(t)).max(axis=1) / unit

    @cached_property
    def _dominant(self) -> tuple[int, float]:
        """The mode that leaves least to the others when the band is reached, and what it leaves."""
        t = np.array([self.time_of_modes])
        if not len(self._modes.values) or t[0] == 0 or not math.isfinite(t[0]):
            return -1, math.inf
        whole = self._control.at(t)
        unit = self.band * self._scale
        left = [
            float(np.abs(whole - self._mode(k).at(t)).max()) / unit
            for k in range(len(self._modes.values))
        ]
        best = int(np.argmin(left))
        return best, left[best]

    @cached_property
    def _rail_gain(self) -> Array:
        """How much of what the cut drives is on the control signal's other rail, (n_L,)."""
        control, siemens = self._circuit.control, {}
        rail = self._circuit.bank[control.u.bank]
        for r in self._circuit.resistors:
            if r.b is not None:
                siemens[frozenset((r.a, r.b))] = r.siemens.numpy()
        pair = (
            siemens[frozenset((control.u_minus.port, rail.x))],
            siemens[frozenset((rail.x, rail.o))],
        )
        return np.asarray(pair[0] / pair[1])

    def _mode(self, k: int) -> Modal:
        """Control signal of one mode, of a pair where it oscillates."""
        inverted = -self._rail_gain * self._modes.at_cut[k]
        value = self._modes.values[k]
        if value.imag == 0:
            return Modal(np.array([value]), inverted[None])
        return Modal(np.array([value, value.conj()]), np.stack([inverted, inverted.conj()]))

    @property
    def dominant(self) -> complex:
        """The mode that fills most of the band when the control signal enters it."""
        k = self._dominant[0]
        return complex(math.nan, math.nan) if k < 0 else complex(self._modes.values[k])

    @property
    def remainder(self) -> float:
        """Part of the band that the other modes fill then."""
        return self._dominant[1]

    @cached_property
    def time_of_mode(self) -> float:
        """Seconds after which the dominant mode alone stays within the band."""
        k = self._dominant[0]
        if k < 0:
            return math.nan
        mode = self._mode(k)
        if len(mode.poles) == 1:
            start = float(self._size(mode.at)(np.zeros(1))[0])
            return max(0.0, math.log(start) / -float(mode.poles[0].real))
        return _last_above(self._horizon(-mode.poles[0].real), self._size(mode.at), 1.0)

    # The update

    @cached_property
    def _update(self) -> tuple[list[Modal], list[Modal]]:
        """Deviations of phi(v) - phi(v_ff) of layers 1..L and of r_1..r_{L-1}."""
        response, layers = self.spectrum.response, self._circuit.layers
        differences = [self.spectrum.modal(_difference(response, taps)) for taps in layers]
        rates = [self.spectrum.modal(_signal(response, taps.r)) for taps in layers[:-1]]
        return differences, rates

    @cached_property
    def _final(self) -> list[Array]:
        """phi(v) - phi(v_ff) of every layer at rest as it is read, in volts."""
        out = []
        for taps in self._circuit.layers:
            d = _difference(self.point.rest, taps)[0]
            if self._design.readout.double_sampling:
                d = d - _difference(self.point.free, taps)[0]
            out.append(d)
        return out

    def angle(self, t: Array) -> Array:
        """Angle between the update at times and that at rest, (times,), in radians."""
        unit = self._design.card.scale.activation
        product, own, final = np.zeros(len(t)), np.zeros(len(t)), 0.0
        differences, rates = self._update
        for i, end in enumerate(self._final):
            d = end + differences[i].at(t)
            if i == 0:
                r_end, r = self.x, self.x[None]
            else:
                r_end = _signal(self.point.rest, self._circuit.layers[i - 1].r)[0] / unit
                r = r_end + rates[i - 1].at(t) / unit
            product += (d @ end) * (1 + r @ r_end)
            own += np.square(d).sum(axis=1) * (1 + np.square(r).sum(axis=1))
            final += float(end @ end) * (1 + float(r_end @ r_end))
        across = np.sqrt(np.maximum(own * final - product**2, 0))
        return np.asarray(np.arctan2(across, product))

    def update_time(self, angle: float) -> float:
        """Seconds after which the update stays within an angle, in radians, to that at rest."""
        return _last_above(self._times, self.angle, angle)

    # The free phase

    @cached_property
    def _free(self) -> tuple[list[Modal], Modal]:
        """The same deviations before the release, and that of the output, from 0 volts on."""
        s, layers = self.spectrum.s, self._circuit.layers
        found = {n: v[0] for n, v in self.spectrum.loop.free_response(s).items()}
        source = np.random.default_rng(0)
        columns = []
        for values in found.values():
            v = values * (s + self.spectrum.rate)[:, None]
            v = v @ source.standard_normal((v.shape[1], 2))
            columns.append(v / max(float(np.abs(v).max()), 1e-300))
        p = poles(s, np.concatenate(columns, axis=1), tolerance=1e-7)
        p = p[p.real < 0]
        output = Modal.fit(s, _signal(found, layers[-1].r), p)
        return [Modal.fit(s, _difference(found, taps), p) for taps in layers], output

    def free_time(self, part: float) -> float:
        """Seconds that the free phase needs to come that close, relative to what control adds."""
        differences, output = self._free
        last = self._circuit.layers[-1].r
        step = np.linalg.norm(_signal(self.point.rest, last) - _signal(self.point.free, last))
        sizes = [float(np.linalg.norm(end)) for end in self._final]

        def left(t: Array) -> Array:
            parts = [np.linalg.norm(output.at(t), axis=1) / step]
            for d, size in zip(differences, sizes, strict=True):
                if size > 0:  # a layer without feedback is not updated
                    parts.append(np.linalg.norm(d.at(t), axis=1) / size)
            return np.asarray(np.max(parts, axis=0))

        return _last_above(self._horizon(0.5 / self._design.tau_v_seconds), left, part)


def _signal(volts: Mapping[str, _Signals], tap: Tap) -> _Signals:
    """A signal of the paper, in volts."""
    return volts[tap.bank] if tap.sign == 1 else -volts[tap.bank]


def _difference(volts: Mapping[str, _Signals], taps: LayerTaps) -> _Signals:
    """phi(v) - phi(v_ff) of a layer."""
    return _signal(volts, taps.r) - _signal(volts, taps.r_ff)


def _last_above(t: Array, signal: Callable[[Array], Array], bound: float) -> float:
    """Last time at which a signal lies above a bound, refined between two points."""
    above = np.flatnonzero(signal(t) > bound)
    if not len(above):
        return 0.0
    if above[-1] == len(t) - 1:
        return math.inf
    fine = np.linspace(t[above[-1]], t[above[-1] + 1], 50)
    values = signal(fine)
    last = min(int(np.flatnonzero(values > bound)[-1]), len(fine) - 2)
    # On a line between the two, so that the time doesn't hang on where the points lie.
    share = (values[last] - bound) / (values[last] - values[last + 1])
    return float(fine[last] + share * (fine[last + 1] - fine[last]))
