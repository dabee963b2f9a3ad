"""Amplifier stages in the frequency domain: two nodes each, a summing node x and an output o."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Stage

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class AmplifierNumbers:
    """An amplifier's parameters as they enter the equations; a switched-off effect is 0."""

    inverse_gain: float
    inverse_omega: float
    inverse_pole: float
    r_out: float
    c_in: float

    @classmethod
    def of(cls, card: Card) -> AmplifierNumbers:
        """Those of a card."""
        a = card.amplifier.delays
        return cls(
            1 / a.gain if a.gain else 0.0,
            1 / (2 * math.pi * a.gain_bandwidth) if a.gain_bandwidth else 0.0,
            1 / (2 * math.pi * a.second_pole) if a.second_pole else 0.0,
            a.output_resistance or 0.0,
            a.input_capacitance or 0.0,
        )

    def first(self, s: Complex) -> Complex:
        """Inverse of the dominant pole's gain, 1 / A0 + s / omega_t."""
        return self.inverse_gain + s * self.inverse_omega

    def inverse(self, s: Complex) -> Complex:
        """Inverse of the whole gain, with the second pole."""
        return self.first(s) * (1 + s * self.inverse_pole)


@dataclass
class Charge:
    """Right-hand sides of a stage that its state at the start leaves behind.

    Attributes:
        node: of Kirchhoff's law at the summing node, in coulombs.
        amplifier: of the amplifier's law, in volts times seconds.
    """

    node: Complex
    amplifier: Complex


@dataclass
class Bank:
    """The nodes of a stage's amplifiers: conductances and capacitances, each (n,).

    Attributes:
        g_x: of the summing node, to everything.
        c_x: the same for capacitors.
        g_f: from the summing node to the output.
        c_f: the same for capacitors.
        g_o: of the output, to everything.
        c_o: the same for capacitors.
        series: resistors and capacitors of a branch in parallel to the feedback; None for none.
    """

    g_x: Array
    c_x: Array
    g_f: Array
    c_f: Array
    g_o: Array
    c_o: Array
    series: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, stage: Stage, c_in: float) -> Bank:
        """A stage with a feedback resistor."""
        return cls._of(stage, c_in, 1 / stage.r_f.numpy())

    @classmethod
    def integrator(cls, stage: Stage, c_in: float, g_leak: Array, c_i: Array) -> Bank:
        """A stage whose feedback resistor is in series with a capacitor, beside a leak."""
        bank = cls._of(stage, c_in, g_leak)
        bank.series = stage.r_f.numpy(), c_i
        return bank

    @classmethod
    def _of(cls, stage: Stage, c_in: float, g_f: Array) -> Bank:
        c_f = stage.c_f.numpy()
        g_x = g_f + sum((1 / r.numpy() for r in stage.r_in), np.zeros_like(g_f))
        return cls(g_x, c_in + c_f, g_f, c_f, g_f, c_f)

    def load(self, conductance: Array, capacitance: float = 0.0) -> None:
        """Hang more on the output."""
        self.g_o = self.g_o + conductance
        self.c_o = self.c_o + capacitance

    def feed(self, conductance: Array, capacitance: float) -> None:
        """Hang more on the summing node."""
        self.g_x = self.g_x + conductance
        self.c_x = self.c_x + capacitance

    def admittances(self, s: Complex) -> tuple[Complex, Complex, Complex]:
        """Of the summing node, of the feedback, of the output."""
        branch: Complex | float = 0.0
        if self.series is not None:
            r, c = self.series
            branch = s * c / (1 + s * r * c)
        x, f, o = (
            g + s * c + branch
            for g, c in ((self.g_x, self.c_x), (self.g_f, self.c_f), (self.g_o, self.c_o))
        )
        return x, f, o

    def charge(self, s: Complex, o: Array, numbers: AmplifierNumbers) -> Charge:
        """What the capacitors and the amplifier hold where the output is o volts off its rest."""
        inner = o * (1 + numbers.r_out * self.g_o)
        x = -numbers.inverse_gain * inner
        node = self.c_x * x - self.c_f * o + 0 * s
        output = self.c_o * o - self.c_f * x + 0 * s
        if self.series is not None:
            r, c = self.series
            held = c * (o - x) / (1 + s * r * c)
            node, output = node - held, output + held
        amplifier = (numbers.inverse_omega + numbers.first(s) * numbers.inverse_pole) * inner
        return Charge(node, amplifier + numbers.inverse(s) * numbers.r_out * output)

    def unstable_poles(self, numbers: AmplifierNumbers, rate: float) -> int:
        """Poles in the right half-plane, of all amplifiers alone.

        Args:
            numbers: the amplifier.
            rate: what s is measured in, in rad/s.
        """
        r, one = numbers.r_out, np.ones_like(self.g_x)

        def line(constant: Array | float, slope: Array | float) -> Array:
            return np.stack([constant * one, rate * slope * one])

        x, f, o = (
            line(g, c)
            for g, c in ((self.g_x, self.c_x), (self.g_f, self.c_f), (self.g_o, self.c_o))
        )
        below = line(1.0, 0.0)
        if self.series is not None:
            below, branch = line(1.0, self.series[0] * self.series[1]), line(0.0, self.series[1])
            x, f, o = (_product(a, below) + _padded(branch, 3) for a in (x, f, o))
        h = _product(
            line(numbers.inverse_gain, numbers.inverse_omega), line(1.0, numbers.inverse_pole)
        )
        det = _product(x, _product(h, _padded(below, len(o)) + r * o))
        det[: len(f) + len(below) - 1] += _product(f, below)
        det = det - _padded(r * _product(h, _product(f, f)), len(det))
        return _roots_on_the_right(det)


def _roots_on_the_right(polynomial: Array) -> int:
    """Of polynomials (degree + 1, n), constant first, all coefficients of lower degree >= 0."""
    polynomial = polynomial / np.abs(polynomial).max(axis=0)
    # Of the inverse roots; an integrator without any leak, a root at 0, is not unstable.
    constant = np.maximum(polynomial[0], 1e-14)
    degree, n = len(polynomial) - 1, polynomial.shape[1]
    companion = np.zeros((n, degree, degree))
    companion[:, np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[:, 0, :] = -(polynomial[1:] / constant).T
    roots = np.linalg.eigvals(companion)
    return int((roots.real > 1e-9 * np.abs(roots).max()).sum())


def _product(a: Array, b: Array) -> Array:
    """Product of polynomials, coefficients (degree + 1, n), constant first."""
    out = np.zeros((len(a) + len(b) - 1, a.shape[1]))
    for k, row in enumerate(a):
        out[k : k + len(b)] += row * b
    return out


def _padded(a: Array, length: int) -> Array:
    return np.concatenate([a, np.zeros((length - len(a), a.shape[1]))])


class Stages:
    """The equations of all stages at given frequencies, solved for unit currents.

    Args:
        banks: the stages by name.
        numbers: their amplifier.
        s: frequencies, (batch or 1, points), in rad/s.
    """

    def __init__(self, banks: Mapping[str, Bank], numbers: AmplifierNumbers, s: Complex) -> None:
        self.banks, self.numbers = banks, numbers
        self.s = s[..., None, None]
        self._inverse = numbers.inverse(self.s)
        self._known: dict[str, tuple[Complex, Complex, Complex, Complex]] = {}

    def _coefficients(self, name: str) -> tuple[Complex, Complex, Complex, Complex]:
        """Both voltages per unit of the node's and of the amplifier's right-hand side."""
        if name not in self._known:
            r, h = self.numbers.r_out, self._inverse
            x, f, o = self.banks[name].admittances(self.s)
            back = 1 - h * r * f
            gain = h * (1 + r * o)
            det = x * gain + f * back
            self._known[name] = gain / det, f / det, -back / det, x / det
        return self._known[name]

    def solve(
        self, name: str, into_x: Complex, into_o: Complex | None, charge: Charge | None
    ) -> tuple[Complex, Complex]:
        """Voltages of a stage's summing nodes and outputs, (batch, points, k, n).

        Args:
            name: the stage.
            into_x: currents that its neighbours' voltages draw out of the summing nodes.
            into_o: currents that they draw out of the outputs.
            charge: what the start has left behind.
        """
        x1, x2, o1, o2 = self._coefficients(name)
        node = -into_x if charge is None else charge.node - into_x
        amplifier = None if charge is None else charge.amplifier
        if into_o is not None and self.numbers.r_out > 0:
            drop = (-self.numbers.r_out * self._inverse) * into_o
            amplifier = drop if amplifier is None else amplifier + drop
        if amplifier is None:
            return x1 * node, o1 * node
        return x1 * node + x2 * amplifier, o1 * node + o2 * amplifier
