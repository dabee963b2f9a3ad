"""The sources of noise of a chip, and how they enter its equations.

With the full amplifier model, M dz/dt = A z + N(z) + B xi: every group of sources has its columns
of B, and the density of xi is one-sided, a white part and one that falls with the frequency,
S(f) = white + flicker / f. A passive network at one temperature has, by Nyquist's theorem, the
currents 4 k T Y into its short-circuited terminals, with Y its admittance: so the wires of the
crossbars are in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.circuit.nodal import NodalEquations, Sparse, Stamps
from analogdfc.circuit.thermal import BOLTZMANN, ROOM

Array = NDArray[np.float64]

AMPLIFIERS, RESISTORS, DEVICES, CELLS = "amplifiers", "resistors", "devices", "tanh cells"


class Source(NamedTuple):
    """A group of sources.

    Attributes:
        name: what makes the noise.
        rows: B, (unknowns, sources), sparse.
        white: one-sided density at high frequency, (sources, sources), sparse; in V^2/Hz or A^2/Hz.
        flicker: density at 1 Hz of the part that falls as 1 / f, of the same shape, in the same
            unit times hertz.
    """

    name: str
    rows: Sparse
    white: Sparse
    flicker: Sparse


def noise_sources(
    nodal: NodalEquations,
    z: Array,
    driven: Array,
    *,
    released: bool = True,
    temperature: float = ROOM,
) -> list[Source]:
    """The sources of noise of a chip at a rest.

    The 1 / f noise of the crossbars' devices goes with the currents through them, which are taken
    without the drop of the wires.

    Args:
        nodal: its nodal equations.
        z: unknowns of the full model at rest, (unknowns,).
        driven: voltages of the circuit's sources, (sources,).
        released: the controller runs; else the switches of the free phase are closed.
        temperature: in kelvins.
    """
    build = _Build(nodal, z, driven, 4 * BOLTZMANN * temperature)
    return [*build.amplifiers(), *build.resistors(released), *build.devices(), *build.cells()]


class _Build:
    def __init__(self, nodal: NodalEquations, z: Array, driven: Array, thermal: float) -> None:
        self.nodal, self.z, self.thermal = nodal, z, thermal
        self.volts = np.concatenate([z[: 2 * nodal.amplifiers], driven])
        self.card = nodal.chip.design.card
        self.n, self.unknowns = nodal.amplifiers, len(z)
        # A current into a node of the first 2 n, as the full model's rows have it, in volts.
        self.scale = np.repeat([1 / self.card.device.g_unit, nodal.numbers.r_out], self.n)

    def _source(
        self, name: str, rows: Sparse, white: Sparse, flicker: Sparse | None = None
    ) -> Source:
        none = scipy.sparse.csr_array(white.shape)
        return Source(name, rows, white, none if flicker is None else flicker)

    def _columns(self, *entries: tuple[NDArray[np.intp], Array]) -> Sparse:
        """One column a source, with entries in some rows each."""
        stamps, count = Stamps(), len(entries[0][0])
        for rows, values in entries:
            stamps.add(rows, np.arange(count), values)
        return stamps.matrix(self.unknowns)[:, :count].tocsr()

    def _injected(self) -> Sparse:
        """Currents out of the nodes of the amplifiers."""
        every = np.arange(2 * self.n)
        return self._columns((every, -self.scale))

    def _laplacian(self, stamps: Stamps) -> Sparse:
        """Of elements, over the nodes of the amplifiers; the sources are held."""
        return stamps.matrix(self.nodal.size)[: 2 * self.n, : 2 * self.n].tocsr()

    def amplifiers(self) -> Iterator[Source]:
        """Voltages at the inputs, which the amplifiers see as far as they don't slew."""
        amplifier, p, n = self.card.amplifier, self.nodal.numbers, self.n
        if amplifier.noise is None:
            return
        seen = (self.nodal.offset - self.z[:n]) / p.linear_range
        slope = 1 - np.tanh(seen) ** 2
        rows = self._columns((np.arange(2 * n, 3 * n), slope))
        white = p.density * scipy.sparse.eye_array(n, format="csr")
        yield self._source(AMPLIFIERS, rows, white, (amplifier.noise_corner or 0.0) * white)

    def resistors(self, released: bool) -> Iterator[Source]:
        """Thermal noise of what is outside the crossbars."""
        nodal, stamps = self.nodal, Stamps()
        for kind in nodal.resistors:
            if (kind.b < 0).all():
                stamps.add(kind.a, kind.a, kind.value)
            else:
                stamps.between(kind.a, kind.b, kind.value)
        if not released:
            for switch in nodal.chip.circuit.switches:
                a = nodal.nodes(switch.a)
                stamps.between(a, nodal.nodes(switch.b), np.full(len(a), 1 / switch.ohms))
        yield self._source(RESISTORS, self._injected(), self.thermal * self._laplacian(stamps))
        s = nodal.series
        if not len(s.ohms):
            return
        capacitor = self.unknowns - len(s.ohms) + np.arange(len(s.ohms))
        rows = self._columns((capacitor, np.ones_like(s.ohms)))
        yield self._source(RESISTORS, rows, _diagonal(self.thermal * s.ohms))
        rows = self._columns(
            (s.a, -self.scale[s.a]), (s.b, self.scale[s.b]), (capacitor, -s.ohms)
        )  # fmt: skip
        yield self._source(RESISTORS, rows, _diagonal(self.thermal * s.leak))

    def devices(self) -> Iterator[Source]:
        """Thermal noise of the crossbars with their wires, and 1 / f noise of their devices."""
        thermal, flicker = Stamps(), Stamps()
        relative = self.card.device.flicker or 0.0
        for crossbar in self.nodal.crossbars:
            thermal.block(crossbar.nodes, crossbar.admittance)
            if relative:
                rows, columns = crossbar.g.shape
                a = np.repeat(crossbar.nodes[:rows], columns)
                b = np.tile(crossbar.nodes[rows:], rows)
                current = crossbar.g.ravel() * (self.volts[a] - self.volts[b])
                flicker.between(a, b, relative * current**2)
        white, slow = (self._laplacian(stamps) for stamps in (thermal, flicker))
        yield self._source(DEVICES, self._injected(), self.thermal * white, slow)

    def cells(self) -> Iterator[Source]:
        """Currents of the tanh cells."""
        density, into = self.card.tanh.noise, self.nodal.cells.into
        if density is None or not len(into):
            return
        rows = self._columns((into, -self.scale[into]))
        yield self._source(CELLS, rows, _diagonal(np.full(len(into), density**2)))


def _diagonal(values: Array) -> Sparse:
    return scipy.sparse.diags_array(values).tocsr()
