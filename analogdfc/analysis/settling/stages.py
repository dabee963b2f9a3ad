"""Amplifier stages in the frequency domain: two nodes each, a summing node x and an output o."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.circuit.numbers import AmplifierNumbers

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def single(x: Any) -> Any:
    """An array, real or complex, in single precision.

    Args:
        x: the array.
    """
    return x.astype(np.complex64 if np.iscomplexobj(x) else np.float32)


@dataclass(frozen=True)
class Admittance:
    """A resistor in series with a capacitor that leaks; arrays (n,).

    Without the resistor in series the two are in parallel.

    Attributes:
        leak: conductance across the capacitor, in siemens.
        farads: the capacitor.
        ohms: the resistor in series.
    """

    leak: Array
    farads: Array
    ohms: Array

    @classmethod
    def parallel(cls, siemens: Array, farads: Array | float = 0.0) -> Admittance:
        """A resistor in parallel to a capacitor."""
        nothing = np.zeros_like(siemens)
        return cls(siemens, nothing + farads, nothing)

    def single(self) -> Admittance:
        """The same in single precision."""
        return Admittance(single(self.leak), single(self.farads), single(self.ohms))

    @property
    def series(self) -> bool:
        """Whether there are resistors in series."""
        return bool(self.ohms.any())

    @property
    def at_rest(self) -> Array:
        """Conductance at rest, (n,), in siemens."""
        return self.leak / (1 + self.ohms * self.leak)

    def at(self, s: Complex) -> Complex | Array:
        """Current per volt."""
        if not self.series:
            return self.leak + s * self.farads if self.farads.any() else self.leak
        return (self.leak + s * self.farads) / self._divisor(s)

    def charge(self, s: Complex, volts: Array) -> Complex | Array:
        """What the capacitor gives to the node from which the volts fall, and takes at the other.

        Args:
            s: frequencies.
            volts: across the whole at the start, where nothing has moved for long.
        """
        if not self.series:
            return self.farads * volts
        held = volts / (1 + self.ohms * self.leak)
        return self.farads * held / self._divisor(s)

    def _divisor(self, s: Complex) -> Complex:
        return 1 + self.ohms * self.leak + s * (self.ohms * self.farads)


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
class Nodes:
    """The nodes of a bank's amplifiers: conductances and capacitances, each (n,).

    Attributes:
        g_x: of the summing node, to everything.
        c_x: the same for capacitors.
        g_f: from the summing node to the output.
        c_f: the same for capacitors.
        g_o: of the output, to everything.
        c_o: the same for capacitors.
        series: what has a resistor in series, whether it hangs on the summing node, and whether on
            the output; between the two on both.
    """

    g_x: Array
    c_x: Array
    g_f: Array
    c_f: Array
    g_o: Array
    c_o: Array
    series: list[tuple[Admittance, bool, bool]] = field(default_factory=list)

    @classmethod
    def bare(cls, n: int) -> Nodes:
        """Nodes of n amplifiers on which nothing hangs."""
        x, cx, f, cf, o, co = (np.zeros(n) for _ in range(6))
        return cls(x, cx, f, cf, o, co)

    def hang(self, y: Admittance, *, x: bool, o: bool) -> None:
        """Hang something on the summing node, on the output, or between the two."""
        if y.series:
            self.series.append((y, x, o))
            return
        if x:
            self.g_x, self.c_x = self.g_x + y.leak, self.c_x + y.farads
        if o:
            self.g_o, self.c_o = self.g_o + y.leak, self.c_o + y.farads
        if x and o:
            self.g_f, self.c_f = self.g_f + y.leak, self.c_f + y.farads

    @property
    def load(self) -> Array:
        """Conductance of the output at rest, to everything, (n,)."""
        return sum((y.at_rest for y, _, o in self.series if o), self.g_o)

    def admittances(self, s: Complex) -> tuple[Complex, Complex, Complex]:
        """Of the summing node, of the feedback, of the output."""
        at_x, at_f, at_o = self.g_x + s * self.c_x, self.g_f + s * self.c_f, self.g_o + s * self.c_o
        for y, x, o in self.series:
            value = y.at(s)
            at_x = at_x + value if x else at_x
            at_f = at_f + value if x and o else at_f
            at_o = at_o + value if o else at_o
        return at_x, at_f, at_o

    def charge(
        self, s: Complex, inner: Array, held: tuple[Complex, Complex], numbers: AmplifierNumbers
    ) -> Charge:
        """What the start leaves behind.

        Args:
            s: frequencies.
            inner: volts of the amplifiers before their output resistance, off their rest.
            held: charge of all that hangs on the summing node and on the output, in coulombs.
            numbers: the amplifier.
        """
        node, output = held
        first = first_pole(numbers, s, self.g_o)
        own = (numbers.inverse_omega + first * numbers.inverse_pole) * inner
        return Charge(node, own + inverse_gain(numbers, s, self.g_o) * numbers.r_out * output)

    def unstable_poles(self, numbers: AmplifierNumbers, rate: float) -> int:
        """Poles in the right half-plane, of all amplifiers alone.

        Args:
            numbers: the amplifier.
            rate: what s is measured in, in rad/s.
        """
        r, one = numbers.r_out, np.ones_like(self.g_x)

        def line(constant: Array | float, slope: Array | float) -> Array:
            return np.stack([constant * one, rate * slope * one])

        # All over one divisor, whose own roots are no poles in the right half-plane.
        below = line(1.0, 0.0)[:1]
        x, f, o = (
            line(g, c)
            for g, c in ((self.g_x, self.c_x), (self.g_f, self.c_f), (self.g_o, self.c_o))
        )
        for y, on_x, on_o in self.series:
            over = line(1 + y.ohms * y.leak, y.ohms * y.farads)
            above = _product(line(y.leak, y.farads), below)
            x, f, o = (
                _sum(_product(a, over), above) if hangs else _product(a, over)
                for a, hangs in ((x, on_x), (f, on_x and on_o), (o, on_o))
            )
            below = _product(below, over)
        h = _product(
            line(numbers.inverse_gain_into(self.g_o), numbers.inverse_omega),
            line(1.0, numbers.inverse_pole),
        )
        det = _product(x, _product(h, _sum(below, r * o)))
        det = _sum(det, _product(f, below))
        return _roots_on_the_right(_sum(det, -r * _product(h, _product(f, f))))


def first_pole(numbers: AmplifierNumbers, s: Complex, load: Array) -> Complex:
    """Inverse of the dominant pole's gain, 1 / A0 + s / omega_t, with a load at low frequency."""
    return numbers.inverse_gain_into(load) + s * numbers.inverse_omega


def inverse_gain(numbers: AmplifierNumbers, s: Complex, load: Array) -> Complex:
    """Inverse of the whole gain, with the second pole."""
    return first_pole(numbers, s, load) * (1 + s * numbers.inverse_pole)


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


def _sum(a: Array, b: Array) -> Array:
    """Sum of polynomials."""
    out = np.zeros((max(len(a), len(b)), a.shape[1]))
    out[: len(a)] += a
    out[: len(b)] += b
    return out


class Unit(NamedTuple):
    """Voltages of stages per unit of their right-hand sides, each (batch or 1, points, 1, n or 1).

    Attributes:
        x_node: of the summing node, per ampere into it.
        x_law: the same per volt in the amplifier's law.
        o_node: of the output, per ampere into the summing node.
        o_law: the same per volt in the amplifier's law.
        rise: volts in the amplifier's law per ampere into the output.
    """

    x_node: Complex
    x_law: Complex
    o_node: Complex
    o_law: Complex
    rise: Complex


class Stages:
    """The equations of all stages at given frequencies, solved for unit currents.

    Args:
        nodes: those of all banks, by the bank's name.
        numbers: their amplifier.
        s: frequencies, (batch or 1, points), in rad/s.
    """

    def __init__(self, nodes: Mapping[str, Nodes], numbers: AmplifierNumbers, s: Complex) -> None:
        self.nodes, self.numbers = nodes, numbers
        self.s = s[..., None, None]
        self._known: dict[str, Unit] = {}

    def at(self, points: NDArray[np.intp]) -> Stages:
        """The same at some of the frequencies."""
        out = Stages(self.nodes, self.numbers, self.s[:, points, 0, 0])
        out._known = {n: Unit(*(y[:, points] for y in self._unit(n))) for n in self.nodes}
        return out

    def single(self) -> Stages:
        """The same in single precision."""
        out = Stages(self.nodes, self.numbers, single(self.s[..., 0, 0]))
        out._known = {n: Unit(*(single(y) for y in self._unit(n))) for n in self.nodes}
        return out

    def _unit(self, name: str) -> Unit:
        if name not in self._known:
            nodes, r = self.nodes[name], self.numbers.r_out
            load = nodes.g_o if self.numbers.r_stage > 0 else np.zeros(1)
            h = inverse_gain(self.numbers, self.s, load)
            x, f, o = nodes.admittances(self.s)
            back = 1 - h * r * f
            gain = h * (1 + r * o)
            det = x * gain + f * back
            self._known[name] = Unit(gain / det, f / det, -back / det, x / det, r * h)
        return self._known[name]

    def solve(
        self, name: str, into_x: Complex, into_o: Complex | None, charge: Charge | None
    ) -> tuple[Complex, Complex]:
        """Voltages of a bank's summing nodes and outputs, (batch, points, k, n).

        Args:
            name: the bank.
            into_x: currents that its neighbours' voltages push into the summing nodes.
            into_o: currents that they push into the outputs.
            charge: what the start has left behind.
        """
        unit = self._unit(name)
        node = into_x if charge is None else charge.node + into_x
        law = None if charge is None else charge.amplifier
        if into_o is not None:
            rise = unit.rise * into_o
            law = rise if law is None else law + rise
        if law is None:
            return unit.x_node * node, unit.o_node * node
        return unit.x_node * node + unit.x_law * law, unit.o_node * node + unit.o_law * law
