"""Noise that a sleeping chip puts into its feedback compartments, the same in every realisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.release import Release
from analogdfc.circuit.streams import standard_normal
from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError
from analogdfc.memory import check_memory

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeedbackNoise:
    """Independent noise in the feedback compartments, sigma xi (Meulemans et al. 2021, eq. 207).

    Between evenly spaced times a source follows a straight line. Its values are independent, with
    the variance sigma^2 / spacing: so xi is white, of density 1 at low frequencies, up to some
    0.1 / spacing, and falls to nothing at 1 / spacing as sinc^4.

    Attributes:
        seed: of the sequences, >= 0.
        sigma: strength, > 0, dimensionless times the root of the controller's unit of time.
        spacing: time between the values at most, > 0, in the controller's unit of time.
        output: whether the output layer has noise.
        first: number of the first sample, from 0; each has sequences of its own.

    Raises:
        UserError: a value out of range.
    """

    seed: int
    sigma: float
    spacing: float
    output: bool = True
    first: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0 or self.first < 0:
            raise UserError(f"seed {self.seed}, first {self.first}: both must be >= 0")
        for name in ("sigma", "spacing"):
            check_number(f"{name} of the noise", getattr(self, name), "1", low=0.0, open_low=True)

    def values(self, sizes: Sequence[int], duration: float, sample: int) -> tuple[Tensor, ...]:
        """Values of sigma xi for one sample, of layers 1..L, (times, n_i), dimensionless.

        Args:
            sizes: neurons of layers 0..L.
            duration: of the run, in the controller's unit of time; the times are evenly spaced from
                0 to its end.
            sample: number of the sample, from `first` on, counted from 0.

        Raises:
            UserError: more values than there is memory for.
        """
        count = self.count(duration)
        check_memory(count * sum(sizes[1:]), "sequences of noise",
                     "A wider spacing or a shorter time needs less")  # fmt: skip
        scale = self.sigma / (duration / count) ** 0.5
        last, number = len(sizes) - 1, self.first + sample
        found = []
        for i, n in enumerate(sizes[1:], start=1):
            if i == last and not self.output:
                found.append(torch.zeros(count + 1, n, dtype=torch.float64))
                continue
            name = f"feedback noise.layer{i}.{number}"
            found.append(scale * standard_normal(self.seed, name, (count + 1, n)))
        return tuple(found)

    def count(self, duration: float) -> int:
        """Intervals of a run, each at most `spacing`.

        Args:
            duration: of the run, in the controller's unit of time.
        """
        return max(1, int(np.ceil(duration / self.spacing * (1 - 1e-9))))

    def volts(self, chip: Chip, duration: float, sample: int) -> Array:
        """Voltages of the sources of a chip, of layer after layer, (times, neurons).

        Args:
            chip: the chip.
            duration: of the run, in the controller's unit of time.
            sample: number of the sample, from `first` on, counted from 0.

        Raises:
            UserError: a chip without feedback compartments.
        """
        compartments, design = chip.design.compartments, chip.design
        if compartments is None:
            raise UserError("noise in feedback compartments: this chip has none")
        unit = design.card.scale.activation / compartments.gain
        return torch.cat(self.values(design.sizes, duration, sample), dim=1).numpy() * unit

    def drive(self, model: AmplifierModel, release: Release, seconds: float) -> Sequence[Tensor]:
        """See `circuit.sequences.Noise.drive`."""
        chips = [nodal.chip for nodal in model.nodal]
        duration, samples = seconds / chips[0].design.seconds, release.free.shape[1]
        check_memory(
            len(chips) * samples * self.count(duration) * sum(chips[0].design.sizes[1:]),
            f"sequences of noise of {samples} samples",
            "A wider spacing, a shorter time or fewer samples need less",
        )
        volts = [[self.volts(chip, duration, b) for b in range(samples)] for chip in chips]
        return _Drive(model, release, torch.from_numpy(np.array(volts)))


class _Drive(Sequence[Tensor]):
    """What voltages of the noise's sources add to the right-hand side at their times."""

    def __init__(self, model: AmplifierModel, release: Release, volts: Tensor) -> None:
        self._system, self._volts = release.system, volts.to(release.free)
        nodal = model.nodal[0]
        places = [nodal.nodes(port) - 2 * nodal.amplifiers for port in nodal.chip.circuit.noise]
        self._into = model.system(released=True)[1].of(np.concatenate(places))

    def __len__(self) -> int:
        return self._volts.shape[2]

    def __getitem__(self, k: Any) -> Any:
        if not -len(self) <= k < len(self):
            raise IndexError(k)
        return self._system.ungrouped(self._into @ self._volts[:, :, k].mT)
