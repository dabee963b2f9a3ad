"""What the benchmarks of the realisations share: their networks, runs and bars."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.comparison import Comparison
from analogdfc.controller import Controller
from analogdfc.dynamics import Trajectory
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells, Study

CARD = "discrete_100mhz"
DT, STEPS = 0.02, 1000
"""Spacing of the record, and its length of 20 tau_u."""


@dataclass(frozen=True)
class Case(Study):
    """A study of a random network, as the benchmarks lay it out."""

    def on(self, card: Card) -> Case:
        """The same on another technology."""
        return replace(self, design=self.design.on(card))

    def of_devices(self, name: str, age: float) -> Case:
        """The same with crossbars of a device, so many seconds after they were programmed."""
        return replace(self, design=replace(self.design, devices=Devices.of(name, age)))

    def in_tiles(self, rows: int) -> Case:
        """The same with crossbars cut into arrays of so many rows at most."""
        return self.on(self.design.card.replace("wire", rows=rows))

    def at_bandwidth(self, product: float) -> Case:
        """The same with an amplifier of that product of gain-bandwidth and tau_v."""
        return self.on(with_bandwidth(self.design.card, product / self.design.tau_v_seconds))

    def circuit(
        self,
        seed: int | None,
        fidelity: Fidelity,
        *,
        simulator: Simulator | None = None,
        jobs: int = 1,
    ) -> Trajectory:
        """The chip of that seed in ngspice."""
        cells = Cells(fidelity, simulator or get_simulator("batch"), seed=seed, jobs=jobs)
        return cells.run(self)


def case(
    sizes: Sequence[int],
    seed: int,
    samples: int,
    *,
    controller: Controller | None = None,
    readout: Readout | None = None,
    target: float = 0.15,
) -> Case:
    """A random network: W ~ N(0, 1.2^2 / n_in), b ~ N(0, 0.1^2), Q_i the product of the W^T.

    Args:
        sizes: neurons of layers 0..L.
        seed: of the network and its samples.
        samples: number of samples, uniform in 0..1; more of them leave the first as they were.
        controller: the controller; by default `PI()`.
        readout: how the update is read.
        target: rms target step of a channel.
    """
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=source)

    network = Network(sizes)
    with torch.no_grad():
        for w, b in zip(network.weights, network.biases, strict=True):
            w.copy_(normal(*w.shape) * 1.2 / math.sqrt(w.shape[1]))
            b.copy_(normal(*b.shape) * 0.1)
    x, steps = [], []
    for _ in range(samples):
        x.append(torch.rand(sizes[0], dtype=torch.float64, generator=source))
        steps.append(target * normal(sizes[-1]))
    design = Design.of(
        network,
        DirectFeedback.transposed(network),
        Card.load(CARD),
        controller=controller,
        readout=readout,
    )
    return Case(design, torch.stack(x), torch.stack(steps), DT, STEPS)


def worst_angle(comparison: Comparison) -> float:
    """Largest angle between the updates of a layer, or of all, in degrees."""
    return max(update.angle for update in comparison.updates.values())


def worst_norm(comparison: Comparison) -> float:
    """Largest deviation from 1 of the norm ratio of a layer's update, or of all, as a fraction."""
    return max(abs(update.norm_ratio - 1) for update in comparison.updates.values())


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
