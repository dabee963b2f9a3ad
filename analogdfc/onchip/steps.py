"""What every step of a training through a chip learned, for its record and to be laid side by side.

A step is that of a mini-batch. Kept are its loss and share of right answers, the weights before it,
the update that was read, the pulses on the devices, and the waveforms of those that were asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.arrays.writers import PulseWriter
from analogdfc.circuit.design import Design
from analogdfc.dynamics import Trajectory
from analogdfc.errors import UserError
from analogdfc.memory import check_memory
from analogdfc.network import Network
from analogdfc.onchip.through import Reading
from analogdfc.recorded import trajectory_tree
from analogdfc.records import Quantity, Record, Tree

KEY, WAVES = "steps", "waves"
"""Branches of a record."""

_DIMS = ("step", "to neuron", "from neuron")
_WHAT = {
    "W": ("weights W{i} before the step", _DIMS),
    "b": ("biases b{i} before the step", _DIMS[:2]),
    "dW": ("update of W{i} as it was read, mean over the mini-batch, before a rate", _DIMS),
    "db": ("update of b{i} as it was read, mean over the mini-batch, before a rate", _DIMS[:2]),
    "pulses": ("pulses on the devices of layer {i} in the step, up or down, bias last", _DIMS),
}


class Steps:
    """The steps of a training so far.

    Args:
        network: the network that learns.
        expected: how many there will be, for which there must be memory.
        waves: numbers of those whose waveforms are kept, the first is 1.
        update: sends the pulses; None where nothing does.

    Attributes:
        loss: mean loss of each mini-batch before its update.
        right: share of right answers in it.
        samples: samples in it.
        parts: by name ('W1', 'b1', 'dW1', 'db1', ...) the tensor of each step; 'pulses1', ... of
            devices that are pulsed, bias last, the sum of a weight's slices.
        runs: waveforms by the number of the step, with the design that ran.

    Raises:
        UserError: a number below 1, or more steps than this machine's memory holds.
    """

    def __init__(
        self,
        network: Network,
        expected: int,
        waves: Collection[int] = (),
        update: PulsedUpdate | None = None,
    ) -> None:
        if any(number < 1 for number in waves):
            raise UserError(f"waves {sorted(waves)}: steps are counted from 1")
        self.waves = frozenset(waves)
        self.loss: list[float] = []
        self.right: list[float] = []
        self.samples: list[int] = []
        shapes = [*zip(network.weights, network.biases, strict=True)]
        self._shapes: dict[str, torch.Size] = {
            f"{d}{kind}{i}": p.shape
            for i, layer in enumerate(shapes, start=1)
            for kind, p in zip("Wb", layer, strict=True)
            for d in ("", "d")
        }
        writers = () if update is None else update.writers
        self._pulsed = {
            f"pulses{i}": w for i, w in enumerate(writers, start=1) if isinstance(w, PulseWriter)
        }
        for name, writer in self._pulsed.items():
            self._shapes[name] = writer.array.stored().shape
        check_memory(
            expected * sum(shape.numel() for shape in self._shapes.values()),
            f"the weights and updates of {expected} steps",
            "Fewer samples, or larger mini-batches, need less; or keep no steps",
        )
        self.parts: dict[str, list[Tensor]] = {name: [] for name in self._shapes}
        self.runs: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def wanted(self) -> bool:
        """Whether the waveforms of the next step are."""
        return len(self) + 1 in self.waves

    def add(self, network: Network, loss: float, y: Tensor, reading: Reading) -> None:
        """Keep a step.

        Args:
            network: as it is before the step.
            loss: mean loss of the mini-batch.
            y: its labels, (batch, n_L).
            reading: what was read.
        """
        self._collect()
        self.loss.append(loss)
        right = reading.output.argmax(dim=-1) == y.argmax(dim=-1)
        self.right.append(float(right.double().mean()))
        self.samples.append(len(y))
        for kind, tensors in (
            ("W", network.weights),
            ("b", network.biases),
            ("dW", reading.weights),
            ("db", reading.biases),
        ):
            for i, tensor in enumerate(tensors, start=1):
                self.parts[f"{kind}{i}"].append(tensor.detach().cpu().clone())

    def _collect(self) -> None:
        """Take over the pulses that the last step has sent."""
        for name, writer in self._pulsed.items():
            if len(self.parts[name]) < len(self) and writer.last is not None:
                weights, steps = writer.last
                dense = torch.zeros(self._shapes[name], dtype=torch.float64)
                dense.view(-1)[weights.cpu()] = steps.sum(dim=0).to(dense)
                self.parts[name].append(dense)

    def keep_waves(self, design: Design, run: Trajectory) -> None:
        """Keep the waveforms of the next step.

        Args:
            design: what runs.
            run: its waveforms.
        """
        self.runs[len(self) + 1] = {**trajectory_tree(design, run), "x": Quantity(run.x, "1")}

    def tree(self) -> dict[str, Any]:
        """The branches 'steps' and 'waves' of a record."""
        self._collect()
        steps: dict[str, Any] = {
            "loss": Quantity(self.loss, "1", "of the mini-batch before its update", ("step",)),
            "right": Quantity(self.right, "1", "share of right answers in it", ("step",)),
            "samples": Quantity(self.samples, "1", "in the mini-batch", ("step",)),
        }
        for name, tensors in self.parts.items():
            kind = name.rstrip("0123456789")
            what, dims = _WHAT[kind]
            found = np.empty((len(tensors), *self._shapes[name]))
            for k, tensor in enumerate(tensors):
                found[k] = tensor.numpy()
            steps[name] = Quantity(found, "1", what.format(i=name.removeprefix(kind)), dims)
        waves: Tree = {f"step {number}": run for number, run in self.runs.items()}
        return {KEY: steps, **({WAVES: waves} if waves else {})}

    def take_up(self, record: Record) -> None:
        """Go on after the steps of a record.

        Args:
            record: has what `tree` gives.

        Raises:
            UserError: it hasn't, or of another network.
        """
        self.loss = record.array(f"{KEY}/loss", units="1").tolist()
        count = len(self.loss)
        self.right = record.array(f"{KEY}/right", shape=(count,), units="1").tolist()
        samples = record.array(f"{KEY}/samples", shape=(count,), units="1")
        self.samples = [int(n) for n in samples]
        for name, shape in self._shapes.items():
            found = record.array(f"{KEY}/{name}", shape=(count, *shape), units="1")
            self.parts[name] = list(torch.from_numpy(found.copy()))
        if WAVES in record:
            for name in record.group(WAVES):
                self.runs[int(name.removeprefix("step "))] = record.group(f"{WAVES}/{name}")
