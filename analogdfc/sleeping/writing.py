"""How a change of the feedback weights gets into the feedback crossbars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from analogdfc.arrays.array import AnalogArray
from analogdfc.arrays.mapping import Fixed, Mapping
from analogdfc.arrays.writers import MODES, PulseWriter, Writer, writer_of
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import OPEN
from analogdfc.circuit.description import Array, Crossbar
from analogdfc.devices.draws import Streams
from analogdfc.errors import UserError
from analogdfc.onchip.substrate import Writing
from analogdfc.sleeping.phase import rewritten


class Writes(ABC):
    """How feedback weights are written."""

    @abstractmethod
    def start(self, chip: Chip) -> Chip:
        """A chip that is to learn, its devices programmed to its first feedback weights.

        Args:
            chip: the chip in its sleep.
        """

    @abstractmethod
    def write(self, chip: Chip, changes: Sequence[Tensor]) -> Chip:
        """The chip after a write.

        Args:
            chip: as it is.
            changes: of Q_1..Q_L, (n_i, n_L), learning rate included.

        Raises:
            UserError: a weight that the conductances have no room for.
        """

    def counts(self) -> dict[str, int]:
        """What the writes since the start have cost; empty where that isn't known."""
        return {}


class Exact(Writes):
    """Every conductance is set as it should be, with the deviations of the chip."""

    def start(self, chip: Chip) -> Chip:
        """See `Writes.start`."""
        return chip

    def write(self, chip: Chip, changes: Sequence[Tensor]) -> Chip:
        """See `Writes.write`."""
        pairs = zip(chip.design.feedback, changes, strict=True)
        return rewritten(chip, [q + change for q, change in pairs])


class OnDevices(Writes):
    """Devices that are pulsed or programmed anew, those of the chip's design.

    Args:
        writing: how they follow a step; its headroom isn't used, since a sleep has room of its own.
        seed: of what differs between devices, pulses and reads, >= 0.
    """

    def __init__(self, writing: Writing | None = None, seed: int = 0) -> None:
        self.writing, self.seed = writing or Writing(), seed
        self._writers: list[Writer] = []
        self._source = torch.Generator()

    def start(self, chip: Chip) -> Chip:
        """See `Writes.start`."""
        design = chip.design
        if design.devices is None:
            raise UserError("feedback on devices: the design has none; give it devices")
        model, made = design.devices.model, self.writing.made(design.devices.model)
        self._source = torch.Generator().manual_seed(self.seed)
        streams, self._writers = Streams(self._source), []
        for i, q in enumerate(design.feedback, start=1):
            mapping = Mapping(made.scheme, Fixed(design.feedback_limit(i)), bias_rows=0)
            layout = mapping.layout(q, None, model.window)
            target = layout.conductances(q)
            array = AnalogArray(layout, model, target, streams[f"feedback devices {i}"])
            writer = writer_of(array, MODES[made.mode], made.granularity)
            if isinstance(writer, PulseWriter):
                writer.aligned = self.writing.aligned
            self._writers.append(writer)
        return self._read(chip)

    def write(self, chip: Chip, changes: Sequence[Tensor]) -> Chip:
        """See `Writes.write`; what would leave the window is counted as clipped."""
        streams = Streams(self._source)
        for i, (writer, change) in enumerate(zip(self._writers, changes, strict=True), start=1):
            wanted = change / (writer.array.layout.scale * writer.step)
            writer.apply(wanted, 0.0, streams[f"feedback {i}"])
        return self._read(chip)

    def counts(self) -> dict[str, int]:
        """Pulses and writes of all layers, and changes that were cut off."""
        every = [vars(writer.counts) for writer in self._writers]
        return {name: sum(one[name] for one in every) for name in every[0]} if every else {}

    def _read(self, chip: Chip) -> Chip:
        """The chip with the conductances that its devices have now, with the noise of one read."""
        streams, writers = Streams(self._source), iter(enumerate(self._writers, start=1))

        def held(bar: Crossbar) -> Crossbar:
            if bar.kind is not Array.FEEDBACK:
                return bar
            i, writer = next(writers)
            plus, minus = writer.array.read(0.0, streams[f"read {i}"])[0].clamp(min=OPEN)
            return replace(bar, plus=plus, minus=minus)

        circuit = replace(chip.circuit, crossbars=tuple(map(held, chip.circuit.crossbars)))
        feedback = [(b.plus - b.minus) / b.unit for b in circuit.crossbars_of(Array.FEEDBACK)]
        return Chip(replace(chip.design, feedback=tuple(feedback)), chip.seed, circuit)
