"""Modes, stability and margins of a loop from its loop gain L(s)."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.margins import Margins, eigenvalues, matched
from analogdfc.analysis.settling.rational import Complex, poles
from analogdfc.analysis.settling.spectrum import LoopSpectrum, Modes, between, scaled
from analogdfc.analysis.settling.transfer import LoopTransfer
from analogdfc.analysis.settling.zeros import SAME, ZeroSeeker, thinned

Array = NDArray[np.float64]

_TURN = 0.8
"""Radians that a locus may turn around -1 from one point to the next."""

_FEW = 4
"""Starting points from which an unstable mode is sought at a time."""

_FASTEST = 4.0
"""Modes are sought up to this rate, relative to the slowest visible one."""


class Spectrum(LoopSpectrum):
    """From the loop's gain in all channels: every mode and every locus.

    Args:
        loop: transfer functions of a batch of one.
        rough: begin with fewer points, which are enough to count the unstable modes.
    """

    def __init__(self, loop: LoopTransfer, *, rough: bool = False) -> None:
        super().__init__(loop, rough=rough)
        self.gain = loop.loop_gain(self.s)[0]
        self._loci = eigenvalues(self.gain)
        self._followed: dict[tuple[complex, complex], Complex] = {}
        for _ in range(8):
            places = np.flatnonzero(np.abs(self._turns).max(axis=1) > _TURN)
            if not len(places):
                break
            self._refine(places)

    def _refine(self, places: NDArray[np.intp]) -> None:
        """Put points behind those at these places."""
        s = between(self.s, places)
        order = np.argsort(np.concatenate([self.s, s]).imag)
        gain = self.loop.loop_gain(s)[0]
        self.gain = np.concatenate([self.gain, gain])[order]
        self._loci = np.concatenate([self._loci, eigenvalues(gain)])[order]
        self.s = np.concatenate([self.s, s])[order]
        for name in ("_strands", "_turns", "_seeker", "response", "poles"):
            self.__dict__.pop(name, None)

    @cached_property
    def _turns(self) -> Array:
        """By how much each locus turns around -1 between points, (points - 1, n_L), in radians."""
        a, b = self._strands
        return np.asarray(np.angle((1 + b) / (1 + a)))

    @cached_property
    def unstable(self) -> int:
        """Number of unstable modes by the argument principle.

        One that is counted must also be found; else the points lay too far apart.
        """
        for _ in range(3):
            turned = float(self._turns.sum())
            count = round(-turned / math.pi) + self.loop.unstable_stages()
            if count == 0 or self._grows():
                return count
            self._refine(np.arange(len(self.s) - 1))
        return count

    def _grows(self) -> bool:
        """Whether an unstable mode is found, of which one is enough."""
        starts = self._starts(stable=False)
        few = thinned(starts)
        for k in range(0, len(few), _FEW):
            if (self._seeker.exact(few[k : k + _FEW]).real > 0).any():
                return True
        return bool((self._seeker.near(starts).real > 0).any())

    @cached_property
    def _seeker(self) -> ZeroSeeker:
        """What finds zeros of det(I + L(s)), from the line and from the loop itself."""
        along = self.loop.loop_gain_along
        return ZeroSeeker(self.loop.loop_gain_where_found, along, self.s, self.gain, self.rate)

    def margins(self) -> tuple[float, float]:
        """See `LoopSpectrum.margins`."""
        found = Margins.of(*self._strands, self.s.imag)
        return found.gain, found.phase

    @cached_property
    def _strands(self) -> tuple[Complex, Complex]:
        """Eigenvalues of L at each point and, matched with them, at the next, (points - 1, n_L)."""
        places = list(zip(self.s[:-1], self.s[1:], strict=True))
        for k, place in enumerate(places):
            if place not in self._followed:
                self._followed[place] = matched(self._loci[k], self._loci[k + 1])
        return self._loci[:-1], np.stack([self._followed[place] for place in places])

    # Time

    @cached_property
    def response(self) -> dict[str, Complex]:
        """See `LoopSpectrum.response`."""
        push = self.loop.open_response(self.s)[0]
        cut = np.linalg.solve(np.eye(self.gain.shape[-1]) + self.gain, push)[..., 0]
        found = self.loop.response(self.s, cut[None])
        return {name: v[0] for name, v in found.items()}

    @cached_property
    def poles(self) -> Complex:
        """See `LoopSpectrum.poles`."""
        source = np.random.default_rng(0)
        n = self.gain.shape[-1]
        left, right = source.standard_normal((2, n)), source.standard_normal((n, 2))
        closed = left @ np.linalg.inv(np.eye(n) + self.gain) @ right
        shown = self._sketches(source, whole=self.loop.chip.circuit.control.u.bank)
        columns = [closed.reshape(len(self.s), -1).astype(complex), *shown]
        return poles(self.s, scaled(columns), tolerance=1e-7)

    def modes(self) -> Modes:
        """See `LoopSpectrum.modes`."""
        found = (
            self._seeker.near(self._starts(stable=False)) if self.unstable else self._slow_zeros()
        )
        kept: list[int] = []
        for k in np.argsort(-found.real):
            if all(abs(found[k] - found[j]) > SAME * abs(found[k]) for j in kept):
                kept.append(int(k))
        values = found[kept]
        return Modes(values, self._residues(values))

    def _starts(self, *, stable: bool) -> Complex:
        p = self.poles[(self.poles.imag >= 0) & (self.poles.real < 1e3 * np.abs(self.s).max())]
        p = p[np.abs(p) > 1e-4 * self.rate]
        # Fast artefacts on the right of a stable loop lead nowhere.
        p = p[(p.real < 0) | (np.abs(p) < self.s.imag.max())]
        p = p[p.real < 0] if stable else p[p.real > -2 * self.rate]
        out: Complex = p[np.argsort(-p.real)][: 3 * self.gain.shape[-1] + 5]
        return out

    def _slow_zeros(self) -> Complex:
        """The slowest zeros of a stable loop."""
        starts, found = self._starts(stable=True), np.zeros(0, dtype=complex)
        while len(starts):
            end = _FASTEST * starts[0].real
            found = self._seeker.near(starts[starts.real > end])
            if (found.real > end).any():
                break
            # The slowest start is an artefact; it says nothing about what is slow.
            starts = starts[1:]
        return found

    def _residues(self, values: Complex) -> Complex:
        """Of (I + L)^-1 p = F^-1 p with p the open loop's response: v w^T p / (w^T F' v)."""
        if not len(values):
            return np.zeros((0, self.gain.shape[-1]), dtype=complex)
        push = self.loop.open_response(values)[0, ..., 0]
        w, v, slope = self._seeker.vectors(values)
        share = (w * push).sum(axis=1) / slope
        out: Complex = share[:, None] * v
        return out
