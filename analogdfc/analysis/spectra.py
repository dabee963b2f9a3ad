"""Spectra and variances of a chip's noise, from its equations linear about a rest.

The density of an output y = c^T z of M dz/dt = J z + B xi is h^H S h with h = B^T g, where
(j omega M - J)^T g = c: one adjoint solution gives what all sources add.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Tap
from analogdfc.circuit.modes import rest
from analogdfc.circuit.nodal import Sparse
from analogdfc.circuit.noise import Source, noise_sources
from analogdfc.circuit.sequences import check_noise
from analogdfc.circuit.thermal import ROOM

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_FAST = 1e-15
"""Seconds below which a mode's time is none: an algebraic equation."""

PER_DECADE = 10
"""Frequencies of an integral over a spectrum, in each decade."""

_WITHIN = 65
"""Points within a band over which a weight is integrated."""

_BEYOND = 30.0
"""Frequency up to which spectra are integrated, in gain-bandwidths or second poles."""


@dataclass(frozen=True, eq=False)
class LinearNoise:
    """A chip's equations linear about a rest, with its sources of noise.

    Attributes:
        mass: M, (unknowns, unknowns), dense.
        jacobian: J, of the same shape.
        sources: the sources of noise.
        outputs: number of each bank's output voltages among the unknowns.
        rest: the unknowns at rest, (unknowns,).
    """

    mass: Array
    jacobian: Array
    sources: Sequence[Source]
    outputs: Mapping[str, NDArray[np.intp]]
    rest: Array

    @classmethod
    def of(
        cls,
        chip: Chip,
        x: Tensor,
        step: Tensor,
        *,
        released: bool = True,
        temperature: float = ROOM,
    ) -> list[LinearNoise]:
        """A chip at the rests of some samples.

        Args:
            chip: the chip; its card needs a finite gain-bandwidth.
            x: inputs, (batch, n_0), dimensionless.
            step: steps of the output target, (batch, n_L).
            released: at the controlled steady state, with what the holds have stored; else in the
                free phase.
            temperature: in kelvins, > 0.

        Returns:
            One a sample.

        Raises:
            UserError: amplifiers without a limit of their bandwidth, whose noise has none.
            ConvergenceError: no steady state.
        """
        highest_frequency(chip)
        behavioural = Behavioural([chip], Rung.FULL)
        model, release = behavioural.model, behavioural.release(x, step)
        nodal = model.nodal[0]
        if released:
            system, z = release.system, rest(model, x, step, release)
        else:
            system, z = model.system(released=False)[0], release.free
        mass = system.mass.dense()[0].numpy()
        outputs = {b.name: model.columns(b.name).numpy() for b in chip.circuit.banks}
        return [
            cls(
                mass,
                jacobian.numpy(),
                noise_sources(
                    nodal,
                    at.numpy(),
                    driven.numpy(),
                    released=released,
                    temperature=temperature,
                ),
                outputs,
                at.numpy(),
            )
            for jacobian, at, driven in zip(
                system.jacobian(z)[0], z[0], release.sources[0], strict=True
            )
        ]

    def probe(self, taps: Sequence[Tap]) -> Array:
        """The outputs of some taps as they are measured, columns c of y = c^T z, in volts.

        Args:
            taps: where.

        Returns:
            (unknowns, n) for the n members of all banks, one after another.
        """
        columns = [np.zeros((len(self.mass), 0))]
        for tap in taps:
            at = self.outputs[tap.bank]
            columns.append(np.zeros((len(self.mass), len(at))))
            columns[-1][at, np.arange(len(at))] = tap.sign
        return np.concatenate(columns, axis=1)

    def spectrum(self, frequencies: Array, probe: Array) -> dict[str, Array]:
        """Densities at outputs, by what makes the noise.

        Args:
            frequencies: in hertz, > 0.
            probe: the outputs, (unknowns, n).

        Returns:
            One-sided densities, (frequencies, n), in V^2/Hz, by the sources' names.
        """
        found = {s.name: np.zeros((len(frequencies), probe.shape[1])) for s in self.sources}
        for k, (frequency, adjoint) in enumerate(self._adjoints(frequencies, probe)):
            for source in self.sources:
                h: Complex = np.asarray(source.rows.T @ adjoint)
                density = source.white + source.flicker / frequency
                driven: Complex = np.asarray(density @ h)
                found[source.name][k] += np.sum((h.conj() * driven).real, axis=0)
        return found

    def covariance(self, bands: Bands, probe: Array) -> Array:
        """What noise within some bands adds between outputs.

        Args:
            bands: the bands.
            probe: the outputs, (unknowns, n).

        Returns:
            (n, n), in V^2.
        """
        total = np.zeros((probe.shape[1], probe.shape[1]))
        rows, whites, flickers = self._joined
        steps = zip(bands.white, bands.flicker, self._adjoints(bands.centres, probe), strict=True)
        for white, flicker, (_, adjoint) in steps:
            h: Complex = np.asarray(rows @ adjoint)
            driven: Complex = np.asarray((white * whites + flicker * flickers) @ h)
            total += (h.conj().T @ driven).real
        return total

    def covariances(self, bands: Bands, probe: Array) -> dict[str, Array]:
        """The same by what makes the noise.

        Args:
            bands: the bands.
            probe: the outputs, (unknowns, n).

        Returns:
            (n, n) each, in V^2, by the sources' names.
        """
        width = probe.shape[1]
        found = {source.name: np.zeros((width, width)) for source in self.sources}
        steps = zip(bands.white, bands.flicker, self._adjoints(bands.centres, probe), strict=True)
        for white, flicker, (_, adjoint) in steps:
            for source in self.sources:
                h: Complex = np.asarray(source.rows.T @ adjoint)
                density = white * source.white + flicker * source.flicker
                driven: Complex = np.asarray(density @ h)
                found[source.name] += (h.conj().T @ driven).real
        return found

    def stationary(self, probe: Array) -> Array:
        """Covariance of outputs by white noise without a limit of its band.

        Lyapunov's equation of the modes that take time. What reaches an output in no time, such as
        thermal noise at an output resistance, has no variance and is left out.

        Args:
            probe: the outputs, (unknowns, n).

        Returns:
            (n, n), in V^2.
        """
        # K dz/dt = z + J^-1 B xi with K = J^-1 M, whose Schur form has the modes of no time last.
        lags = np.linalg.solve(self.jacobian, self.mass)
        t, q, kept = scipy.linalg.schur(lags, sort=lambda re, im: np.hypot(re, im) > _FAST)
        driven = q.T @ np.linalg.solve(self.jacobian, self._rows())
        slow, across = t[:kept, :kept], t[:kept, kept:]
        # The fast part is -g2, so that T11 y' = y + g1 + T11^-1 T12 g2 with y = w1 + T11^-1 T12 w2.
        shift = np.linalg.solve(slow, across @ driven[kept:])
        enters = np.linalg.solve(slow, driven[:kept] + shift)
        covariance = scipy.linalg.solve_continuous_lyapunov(
            np.linalg.inv(slow), -0.5 * enters @ enters.T
        )
        seen = q[:, :kept].T @ probe
        found: Array = seen.T @ covariance @ seen
        return found

    @cached_property
    def _joined(self) -> tuple[Sparse, Sparse, Sparse]:
        """B^T and the densities of all sources together."""
        rows = scipy.sparse.vstack([source.rows.T for source in self.sources]).tocsr()
        white, flicker = (
            scipy.sparse.block_diag([getattr(source, name) for source in self.sources]).tocsr()
            for name in ("white", "flicker")
        )
        return rows, white, flicker

    def _rows(self) -> Array:
        """Columns of B times a root of the white densities."""
        parts = []
        for source in self.sources:
            white = source.white.toarray()
            values, vectors = np.linalg.eigh(white)
            parts.append(source.rows @ (vectors * np.sqrt(np.clip(values, 0.0, None))))
        return np.concatenate(parts, axis=1)

    def _adjoints(self, frequencies: Array, probe: Array) -> Iterator[tuple[float, Complex]]:
        """Every frequency with the adjoint solutions of the outputs, (unknowns, n)."""
        mass, jacobian = (scipy.sparse.csc_array(m) for m in (self.mass, self.jacobian))
        for frequency in frequencies.tolist():
            pencil = (2j * np.pi * frequency * mass - jacobian).T.tocsc()
            adjoint: Any = scipy.sparse.linalg.splu(pencil).solve(probe.astype(np.complex128))
            yield frequency, adjoint


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands of frequency that a variance is summed over.

    Attributes:
        centres: where the response is taken, (bands,), in hertz.
        white: integral over each band of the weight, in hertz.
        flicker: integral over each band of the weight / f, where 1 / f noise counts.
    """

    centres: Array
    white: Array
    flicker: Array

    @classmethod
    def of(
        cls,
        low: float,
        high: float,
        *,
        mean_over: float | None = None,
        spacing: float | None = None,
    ) -> Bands:
        """Bands from 0 to the highest frequency.

        Args:
            low: frequency below which 1 / f noise doesn't count, in hertz.
            high: highest frequency, in hertz.
            mean_over: the noise of a mean over so many seconds, with the weight sinc^2(f T); by
                default that of one sample.
            spacing: of sources that follow straight lines between independent values, in seconds,
                with the weight sinc^4(f spacing); see `circuit.sequences`.
        """
        first = low if mean_over is None else min(low, 1 / mean_over) / 30
        count = round(PER_DECADE * np.log10(high / first)) + 1
        edges = np.concatenate([[0.0], np.geomspace(first, high, count)])
        centres = np.sqrt(np.maximum(edges[:-1], first / 2) * edges[1:])
        white = np.diff(edges if mean_over is None else _mean(edges * mean_over) / mean_over)
        if spacing is not None:
            fine = np.linspace(edges[:-1], edges[1:], _WITHIN)
            white = white * scipy.integrate.simpson(np.sinc(fine * spacing) ** 4, dx=1, axis=0)
            white = white / (_WITHIN - 1)
        slow = np.where(edges[:-1] >= low * (1 - 1e-9), white / centres, 0.0)
        return cls(centres, white, slow)


def _mean(x: Array) -> Array:
    """Integral of sinc^2 from 0 to x."""
    return scipy.special.sici(2 * np.pi * x)[0] / np.pi - x * np.sinc(x) ** 2


def highest_frequency(chip: Chip) -> float:
    """Frequency beyond which the amplifiers pass no noise, in hertz.

    Args:
        chip: the chip.

    Raises:
        UserError: amplifiers without a limit of their bandwidth.
    """
    check_noise(chip)
    amplifier = chip.design.card.amplifier
    assert amplifier.gain_bandwidth is not None
    return _BEYOND * max(amplifier.gain_bandwidth, amplifier.second_pole or 0.0)
