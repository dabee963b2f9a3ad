"""The chip that a network learns through, and the devices that hold its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any, NamedTuple

import torch

from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Mapping, PerLayer, Split
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.controller import PI, Controller
from analogdfc.devices import DeviceModel
from analogdfc.errors import check_names
from analogdfc.feedback import DirectFeedback, Feedback
from analogdfc.network import Network
from analogdfc.onchip.through import Way
from analogdfc.records import Record
from analogdfc.training.substrate import Placed

CARD = "discrete_100mhz"
"""The technology where nobody says another."""

GRANULARITY = 1 / 64
"""Granule of a write, in units of the largest representable weight, for devices without pulses."""


class Made(NamedTuple):
    """How a step is made, as it suits the device.

    Attributes:
        mode: of the update, see `PulsedUpdate`.
        granularity: smallest change that is written; None for pulses.
        scheme: how pairs hold a weight.
    """

    mode: str
    granularity: float | None
    scheme: Balanced | Split


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How the devices of a network follow its steps.

    Devices with pulses are pulsed around the middle of their window, others programmed anew.

    Attributes:
        mode: how the devices make a step, see `PulsedUpdate`; by default `stochastic` pulses, or
            `mixed-precision` writes where the device has no pulses or a granularity is given.
        granularity: smallest change that is written; by default `GRANULARITY` for a device without
            pulses.
        headroom: largest representable weight, in units of the largest initial one of a layer.
        aligned: draw every step's randomness from a source of its own, see `PulsedUpdate`.
        most_clipped: share of the changes that may be cut off at the ends of the devices' window,
            see `PulsedUpdate`; any by default.
        compensated: count pulses by the steps that devices make where they stand, see
            `PulsedUpdate`.
    """

    mode: str | None = None
    granularity: float | None = None
    headroom: float = 6.0
    aligned: bool = False
    most_clipped: float = 1.0
    compensated: bool = False

    def network(self, network: Network, model: DeviceModel, seed: int) -> AnalogNetwork:
        """The network on devices that are programmed to its weights.

        Args:
            network: whose weights the devices are programmed to.
            model: the device.
            seed: of every random number, >= 0.

        Raises:
            UserError: what the device refuses.
        """
        mapping = Mapping(self.made(model).scheme, PerLayer(self.headroom))
        return analog(network, model, seed, mapping=mapping)

    def update(self, network: AnalogNetwork, inner: torch.optim.Optimizer) -> PulsedUpdate:
        """The optimiser that writes another one's step into the devices.

        Args:
            network: of `network`.
            inner: says what the step should be.

        Raises:
            UserError: a mode that the device doesn't have.
        """
        made = self.made(network.arrays[0].model)
        return PulsedUpdate(
            network,
            inner,
            made.mode,
            granularity=made.granularity,
            aligned=self.aligned,
            most_clipped=self.most_clipped,
            compensated=self.compensated,
        )

    def made(self, model: DeviceModel) -> Made:
        """How a step is made on a device.

        Args:
            model: the device.
        """
        granularity = self.granularity
        if granularity is None and model.pulses is None and self.mode != "ideal":
            granularity = GRANULARITY
        if granularity is None:
            return Made(self.mode or "stochastic", None, Balanced())
        return Made(self.mode or "mixed-precision", granularity, Split())


@dataclass(frozen=True, kw_only=True)
class ChipSubstrate:
    """A chip for a network to learn through; see `training.substrate.Substrate`.

    Attributes:
        card: the technology of the circuit; by default `CARD`.
        devices: what holds the weights, and the age at which training begins; None for
            conductances that are set exactly in each step.
        controller: the controller.
        tau_v: time constant of the neurons, in units of the controller's time.
        readout: how the chip reads its update.
        writing: how the devices follow a step, and the room that weights have to grow.
        through: the realisation that updates are taken from; None for the chip at rest.

    Raises:
        UserError: what the chip refuses, once a network is placed.

    >>> import torch
    >>> network = Network([3, 4, 2], generator=torch.Generator().manual_seed(0))
    >>> placed = ChipSubstrate(devices=Devices.of("pcm_nandakumar2019")).place(network, seed=1)
    >>> type(placed.network).__name__, placed.options["chip"].seed
    ('AnalogNetwork', 1)
    """

    card: Card = field(default_factory=lambda: Card.load(CARD))
    devices: Devices | None = None
    controller: Controller = field(default_factory=PI)
    tau_v: float = 0.2
    readout: Readout = field(default_factory=Readout)
    writing: Writing = field(default_factory=Writing)
    through: Way | None = None

    def place(self, network: Network, seed: int) -> Placed:
        """See `Substrate.place`; the rule is to be `HardwareDFC`.

        Args:
            network: the network as it starts; it stays as it is.
            seed: of the chip and its devices, >= 0.

        Raises:
            UserError: a network that has no place on the chip or its devices.
        """
        if self.devices is None:
            return Placed(network, {"chip": self.chip(network, seed), **self._way})
        devices = self.writing.network(network, self.devices.model, seed)
        made_of = replace(self.devices, scheme=devices.arrays[0].layout.mapping.scheme)
        limits = tuple(float(array.layout.scale.max()) for array in devices.arrays)
        chip = Chip.of(replace(self.design(network), devices=made_of, limits=limits), seed)
        if self.devices.age > 0:
            devices.wait(self.devices.age)
            devices.read()
        options = {"chip": chip, **self._way}
        return Placed(devices, options, partial(self.writing.update, devices))

    @property
    def _way(self) -> dict[str, Any]:
        return {} if self.through is None else {"through": self.through}

    def design(self, network: Network, feedback: Feedback | None = None) -> Design:
        """The design of a network on this chip, with room for its weights to grow.

        Args:
            network: the network.
            feedback: its feedback pathway, direct; by default the product of the transposed
                weights.

        Raises:
            UserError: what the design refuses.
        """
        design = Design.of(
            network,
            feedback or DirectFeedback.transposed(network),
            self.card,
            controller=self.controller,
            tau_v=self.tau_v,
            readout=self.readout,
            devices=self.devices,
        )
        limits = []
        for i, (w, b) in enumerate(zip(design.weights, design.biases, strict=True), start=1):
            largest = max(float(w.abs().max()), float(b.abs().max()))
            limits.append(self.writing.headroom * largest or design.weight_limit(i))
        return replace(design, limits=tuple(limits))

    def chip(
        self, network: Network, seed: int | None = None, feedback: Feedback | None = None
    ) -> Chip:
        """The chip of a network, whose devices are programmed once, where there are any.

        Args:
            network: the network.
            seed: of the chip; None for nominal components.
            feedback: as of `design`.

        Raises:
            UserError: what the design refuses.
        """
        return Chip.of(self.design(network, feedback), seed)

    def tree(self) -> dict[str, Any]:
        """What a record keeps: card, devices and readout, as `compare` writes them too."""
        return {
            "card": self.card.text,
            **({} if self.devices is None else {"devices": self.devices.tree()}),
            "readout": asdict(self.readout),
            **({} if self.through is None else {"through": self.through.settings()}),
        }

    @classmethod
    def read(cls, record: Record) -> ChipSubstrate | None:
        """The chip of a record, from `tree`; None where it has none.

        Controller and time constant are those of the network in the file, which `read_model` reads.

        Args:
            record: the file.

        Raises:
            UserError: a card or a readout that can't be read.
        """
        if "card" not in record:
            return None
        card = Card.parse(record.text("card"), f"the card in {record.path}")
        said = record.group("readout") if "readout" in record else {}
        known = [f.name for f in fields(Readout)]
        check_names(said, known, "part", f"'readout' in {record.path}")
        readout = Readout(**{name: record.truth(f"readout/{name}") for name in said})
        return cls(card=card, devices=Devices.read(record), readout=readout)

    def __str__(self) -> str:
        """Card and devices, for people."""
        made_of = "" if self.devices is None else f", {self.devices}"
        through = "" if self.through is None else f", through {self.through.name}"
        return f"card: {self.card.card.name}{made_of}{through}"
