"""Noise in time: seeded sequences of a chip's sources, the same for every realisation.

Between evenly spaced times a source follows a straight line, as a netlist's does. A sequence of
independent values of variance S / (2 t), t apart, then has the density S sinc^4(f t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.noise import CELLS, Source, noise_sources
from analogdfc.circuit.release import Release
from analogdfc.circuit.streams import standard_normal
from analogdfc.circuit.thermal import BOLTZMANN, ROOM
from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError
from analogdfc.memory import check_memory

Array = NDArray[np.float64]

_MOST = 1_000_000
"""Intervals of a run, which take some milliseconds each."""


class Noise(Protocol):
    """Noise of a run of chips."""

    def drive(self, model: AmplifierModel, release: Release, seconds: float) -> Sequence[Tensor]:
        """What it adds to the right-hand side at evenly spaced times, (chips, batch, unknowns).

        Args:
            model: the chips' equations.
            release: where they start.
            seconds: length of the run, from the first of these times to the last.

        Raises:
            UserError: noise that these chips can't have.
        """


@dataclass(frozen=True)
class TransientNoise:
    """Noise of waveforms.

    Attributes:
        seed: of the sequences, >= 0; every sample has its own.
        spacing: seconds between their values at most, > 0; densities are whole up to about
            0.1 / spacing and fall to nothing at 1 / spacing.
        temperature: in kelvins, > 0.

    Raises:
        UserError: a value out of range.
    """

    seed: int
    spacing: float
    temperature: float = ROOM

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: a seed must be >= 0")
        check_number("spacing of the noise", self.spacing, "s", low=0.0, open_low=True)
        check_number("temperature", self.temperature, "K", low=0.0, open_low=True)

    def drive(self, model: AmplifierModel, release: Release, seconds: float) -> Drive:
        """See `Noise.drive`; chips of the full amplifier model."""
        if model.rung is not Rung.FULL:
            raise UserError("noise of the card's densities is that of the full amplifier model")
        for nodal in model.nodal:
            check_noise(nodal.chip)
        drawn = [
            [
                Sequences.draw(nodal, z.cpu().numpy(), driven.cpu().numpy(), self, seconds, b)
                for b, (z, driven) in enumerate(zip(*both, strict=True))
            ]
            for nodal, *both in zip(model.nodal, release.free, release.sources, strict=True)
        ]
        return Drive(model.nodal, drawn, model.unknowns)

    def count(self, seconds: float) -> int:
        """Intervals of a run of that length, each at most `spacing`.

        Raises:
            UserError: more than any run gets through.
        """
        count = max(1, int(np.ceil(seconds / self.spacing * (1 - 1e-9))))
        if count > _MOST:
            raise UserError(
                f"spacing of the noise {self.spacing:g} s: a run of {seconds:g} s would have "
                f"{count} intervals; at most {_MOST} are allowed, {seconds / _MOST:.3g} s each"
            )
        return count


@dataclass(frozen=True, eq=False)
class Sequences:
    """Values of the sources of one sample at evenly spaced times, the first at the release.

    Attributes:
        amplifiers: voltages at the non-inverting inputs, (times, amplifiers).
        nodes: currents into the summing nodes, (times, amplifiers), in amperes.
        series: voltages of the resistors in series with capacitors, (times, branches).
        spacing: of the times, in seconds.
    """

    amplifiers: Array
    nodes: Array
    series: Array
    spacing: float

    @classmethod
    def draw(
        cls,
        nodal: NodalEquations,
        z: Array,
        driven: Array,
        noise: TransientNoise,
        seconds: float,
        sample: int,
    ) -> Sequences:
        """The sequences of one sample of a chip.

        The densities are those at its free state. Currents at the amplifiers' outputs and the
        leak of an integrator, which move hardly anything, are left out.

        Args:
            nodal: the chip's nodal equations.
            z: unknowns of the full model in the free phase, (unknowns,).
            driven: voltages of the circuit's sources, (sources,).
            noise: which noise.
            seconds: length of the run.
            sample: number of the sample, from 0.
        """
        n, count = nodal.amplifiers, noise.count(seconds)
        spacing = seconds / count
        sources = noise_sources(nodal, z, driven, temperature=noise.temperature)
        check_memory((2 * n + len(nodal.series.a)) * count, "sequences of noise",
                     "A wider spacing or a shorter time needs less")  # fmt: skip
        white, flicker = (_at_nodes(sources, nodal, name) for name in ("white", "flicker"))
        amplifier = nodal.numbers.density
        corner = nodal.chip.design.card.amplifier.noise_corner or 0.0
        series = 4 * BOLTZMANN * noise.temperature * nodal.series.ohms

        def values(name: str, width: int, slow: bool = False) -> Array:
            key = f"noise.{name}{'.slow' if slow else ''}.{sample}"
            drawn = standard_normal(noise.seed, key, (count + 1, width)).numpy()
            unit: Array = _falling(drawn, spacing) if slow else drawn
            return np.asarray(unit / np.sqrt(2 * spacing))

        nodes = values("nodes", n) @ np.linalg.cholesky(white).T
        if flicker.any():
            nodes = nodes + values("nodes", n, slow=True) * np.sqrt(np.diag(flicker))
        inputs = np.sqrt(amplifier) * values("amplifiers", n)
        if amplifier and corner:
            inputs = inputs + np.sqrt(amplifier * corner) * values("amplifiers", n, slow=True)
        return cls(inputs, nodes, np.sqrt(series) * values("series", len(series)), spacing)


def check_noise(chip: Chip) -> None:
    """Make sure that noise in time has a bound.

    Args:
        chip: the chip.

    Raises:
        UserError: amplifiers without a limit of their bandwidth.
    """
    card = chip.design.card
    if card.amplifier.gain_bandwidth is None:
        raise UserError(
            f"{card.card.name}: the noise of a waveform is without a bound where amplifiers have "
            "no limit of their bandwidth; give [amplifier] gain_bandwidth"
        )


def _at_nodes(sources: Sequence[Source], nodal: NodalEquations, name: str) -> Array:
    """Densities of the currents into the summing nodes, (amplifiers, amplifiers), dense."""
    n = nodal.amplifiers
    total = np.zeros((n, n))
    for source in sources:
        density = getattr(source, name)
        if source.name == CELLS:
            into = nodal.cells.into
            np.add.at(total, (into, into), density.diagonal())
        elif density.shape[0] == 2 * n:
            total += density[:n, :n].toarray()
    return total


def _falling(white: Array, spacing: float) -> Array:
    """Sequences of which independent values of variance 1 become a density that falls as 1 / f.

    What is slower than the whole time has the density of the whole time.
    """
    hertz = np.fft.rfftfreq(len(white), spacing)
    hertz[0] = hertz[1]
    found: Array = np.fft.irfft(
        np.fft.rfft(white, axis=0) / np.sqrt(hertz)[:, None], len(white), axis=0
    )
    return found


class Drive(Sequence[Tensor]):
    """What sequences add to the right-hand side of the full model at their times.

    Args:
        nodal: nodal equations of the chips.
        drawn: the sequences of every chip and sample.
        unknowns: of the full model.
    """

    def __init__(
        self, nodal: Sequence[NodalEquations], drawn: Sequence[Sequence[Sequences]], unknowns: int
    ) -> None:
        self._scales = [1 / one.chip.design.card.device.g_unit for one in nodal]
        self._drawn = drawn
        self._unknowns = unknowns

    def __len__(self) -> int:
        return len(self._drawn[0][0].nodes)

    def __getitem__(self, k: Any) -> Any:
        if not -len(self) <= k < len(self):
            raise IndexError(k)
        out = np.zeros((len(self._drawn), len(self._drawn[0]), self._unknowns))
        for c, (scale, samples) in enumerate(zip(self._scales, self._drawn, strict=True)):
            for b, one in enumerate(samples):
                n, branches = one.nodes.shape[1], one.series.shape[1]
                out[c, b, :n] = scale * one.nodes[k]
                out[c, b, 2 * n : 3 * n] = one.amplifiers[k]
                if branches:
                    out[c, b, -branches:] = one.series[k]
        return torch.from_numpy(out)
