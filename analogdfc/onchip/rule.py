"""Deep Feedback Control as a chip computes it: a learning rule on the static model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from analogdfc.analysis.noise import ReadingNoise, reading_sigma
from analogdfc.arrays.layers import AnalogNetwork
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.devices.draws import normal
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning.base import ControlLoop, LearningRule, register
from analogdfc.losses import Loss
from analogdfc.network import Network
from analogdfc.onchip.steps import Steps
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.onchip.through import AtRest, Goal, Way

__all__ = ["HardwareDFC", "ReadingNoise"]


@register(
    "dfc-chip",
    family="deep feedback control",
    feedback="direct, fixed",
    local="yes",
    local_time="at the steady state",
    equation="Delta W_i = (phi(v_i) - phi(v_ff,i)) r_{i-1}^T as read from a chip at rest",
    source="Meulemans et al. 2021, Algorithm 2, on the circuit of this package",
)
class HardwareDFC(LearningRule):
    """The update of Algorithm 2 (Meulemans et al. 2021) as it is read from a chip at rest.

    In each step the weights, as they were read last, are folded into the static model of the chip:
    gain errors, offsets, deviations of components, wires, and a readout with or without auto-zero,
    double sampling and a relative target. What a learning rule computes digitally the chip
    measures: the output r_L^- of the free phase, from which the loss makes the target step, and
    d_i = phi(v_i) - phi(v_ff,i) and r_{i-1} at rest. Then Delta W_i = d_i r_{i-1}^T.

    Where the network is an `AnalogNetwork`, its arrays are the forward crossbars: the chip has
    their conductances as they were read last, and feedback crossbars of the same devices. Else the
    chip is programmed to the network's weights in each step, with the draws of its seed.

    The chip is solved where the network is. What it consists of is folded on the CPU, once, and so
    are crossbars of devices that aren't an `AnalogNetwork`'s arrays, in each step; random numbers
    come from the generator's own device.

    Args:
        network: the network that learns, float64; its sizes and activations are the chip's.
        chip: the chip; its seed stays. A design gives nominal components; by default it is that of
            `ChipSubstrate()` for this network. Where the network is an `AnalogNetwork`, the
            crossbars get its devices in place of their own.
        target_stepsize: step lambda of the output target along the negative loss gradient, > 0.
        loss: the loss at the output; by default the squared error.
        limits: the largest weight of each layer for which the conductances leave room; by default
            those of an analog network's arrays, or those of the design. The chip's siemens per
            unit of weight follow from them.
        noise: how the update is read, to add the amplifiers' noise to it; None for none.
        generator: source of that noise; by default a new one with seed 0.
        tolerance: residual of Newton's method, relative to the error of the free state.
        through: the realisation that the update is taken from, see `onchip.through`; by default
            the chip at rest.

    Attributes:
        static: the chip with the weights of the last step.
        way: the realisation that the update is taken from.
        steps: keeps what each step learns; None keeps nothing.

    Raises:
        UserError: a network of other sizes or activations than the chip's, a value out of range,
            limits that the conductance window can't hold, arrays that aren't differential pairs, a
            chip of other devices than the network's, noise on a card without noise of its
            amplifiers or of an update that isn't that of a chip at rest, a chip too large for what
            it should be simulated in.
    """

    def __init__(
        self,
        network: Network,
        chip: Chip | Design | None = None,
        *,
        target_stepsize: float = 0.1,
        loss: Loss | None = None,
        limits: Sequence[float] | None = None,
        noise: ReadingNoise | None = None,
        generator: torch.Generator | None = None,
        tolerance: float = 1e-6,
        through: Way | None = None,
    ) -> None:
        super().__init__(network, loss)
        if noise is not None and through is not None:
            raise UserError(
                f"noise with an update through {through.name!r}: the noise of the reading is that "
                "of a chip at rest; leave one of them out"
            )
        if noise is not None and chip is not None and _card_of(chip).update_path:
            raise UserError(
                "noise of an averaged reading with an update path: the card's holds keep one "
                "moment, and have noise of their own; leave one of them out"
            )
        if not target_stepsize > 0:
            raise UserError(f"target_stepsize = {target_stepsize}: it must be > 0")
        if chip is None:
            chip = ChipSubstrate().design(network)
        if isinstance(chip, Design):
            chip = Chip.of(chip)
        _check_fit(network, chip.design)
        design = chip.design
        if isinstance(network, AnalogNetwork):
            design = _on_arrays(design, network, limits)
        elif limits is not None:
            design = replace(design, limits=tuple(map(float, limits)))
        if design is not chip.design:
            chip = Chip.of(design, chip.seed)
        self.way = through or AtRest(self.differences, tolerance)
        self.way.seconds(design)  # refuses what would take too long
        # Folded on the CPU, once; what runs in a step is where the network is.
        self.static = StaticChip.of(chip).to(network.weights[0].device)
        self.target_stepsize = target_stepsize
        self.noise = noise
        self.generator = generator or torch.Generator().manual_seed(0)
        self.tolerance = tolerance
        self.steps: Steps | None = None
        self._remarks = chip.design.card.remarks
        self._rest: StaticState | None = None
        self._sigma = None if noise is None else reading_sigma(chip, noise)

    def notes(self) -> list[str]:
        """What is unusual about the chip's card or its last rests, a sentence each."""
        return [*self._remarks, *self._beyond_rails()]

    def _beyond_rails(self) -> list[str]:
        """That rests of the last mini-batch are none of a chip with rails, where it is so."""
        limit = self.static.chip.design.card.amplifier.reach
        if self._rest is None or limit is None:
            return []
        needed = self._rest.needed
        beyond = int((needed > limit).sum())
        if not beyond:
            return []
        return [
            f"{beyond} of {len(needed)} samples of the last mini-batch come to rests that need up "
            f"to {float(needed.max()):.3g} V where amplifiers reach {limit:.3g} V; a chip at rest "
            "has no rails, so its updates are not those of a chip in time: take fewer volts in "
            "[scale], smaller target steps, stronger feedback weights or less headroom"
        ]

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        chip, design = self.static.chip, self.static.chip.design
        return {
            **super().settings(),
            "target_stepsize": self.target_stepsize,
            "controller": design.controller,
            "tau_v": design.tau_v,
            "tolerance": self.tolerance,
            "noise": self.noise,
            "readout": design.readout,
            "card": _Identity(design.card.card.name, design.card.sha256),
            "devices": None if design.devices is None else _MadeOf.of(design.devices),
            "limits": design.limits,
            "chip_seed": chip.seed,
            **({"through": way} if (way := self.way.settings()) else {}),
        }

    def generators(self) -> dict[str, torch.Generator]:
        """See `LearningRule.generators`."""
        return {"noise": self.generator}

    def control_loop(self) -> ControlLoop:
        """See `LearningRule.control_loop`; the chip's own, as designed."""
        design = self.static.chip.design
        return ControlLoop(DirectFeedback(design.feedback), design.controller, design.tau_v)

    def refold(self) -> StaticChip:
        """Take the network's weights over into the chip.

        Raises:
            UserError: a weight that the conductance window can't hold.
        """
        weights, biases = list(self.network.weights), list(self.network.biases)
        static, sums = self.static, None
        if (device := weights[0].device) != static.loop.weights[0].device:
            static = static.to(device)
        if isinstance(self.network, AnalogNetwork):
            sums = self.network.pair_sums()
        else:
            self._check_window(weights, biases)
        self.static = static.refolded(weights, biases, sums=sums)
        return self.static

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """Measured output r_L of the free phase with the network's weights, (batch, n_L)."""
        return self.way.outputs(self.refold(), x)

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`.

        Returns:
            The mean loss at the measured output of the free phase.

        Raises:
            UserError: a weight that the conductance window can't hold.
            ConvergenceError: a sample without a rest state.
        """
        static, goal = self.refold(), Goal(self.loss, y, self.target_stepsize)
        reading = self.way.read(static, x, goal)
        loss = self.loss.value(reading.output, y).mean()
        self._write(reading.weights, reading.biases, ours=self.steps is None)
        if self.steps is not None:
            if self.steps.wanted:
                self.steps.keep_waves(static.chip.design, self.way.shown(static, x, goal))
            self.steps.add(self.network, float(loss), y, reading)
        return loss

    def differences(self, state: StaticState) -> tuple[Tensor, ...]:
        """d_1..d_L as read, (batch, n_i), with the amplifiers' noise if the rule has any.

        The noise is that of each neuron's soma on its own, through the slope phi' at rest.

        Args:
            state: the chip's rest state.
        """
        self._rest = state
        if self._sigma is None:
            return state.differences
        activations = zip(self.network.activations, state.rest.r, strict=True)
        slopes = [phi.slope(r) for phi, r in activations]
        out = []
        for d, sigma, slope in zip(state.differences, self._sigma, slopes, strict=True):
            drawn = normal(d.shape, self.generator, dtype=d.dtype, device=d.device)
            out.append(torch.addcmul(d, slope * sigma.to(d), drawn))
        return tuple(out)

    def _check_window(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        layers = zip(weights, biases, self.static.largest, strict=True)
        for i, (w, b, limit) in enumerate(layers, start=1):
            ends = (end for t in (w, b) for end in torch.aminmax(t.detach()))
            found = max(abs(float(end)) for end in ends)
            if not found <= limit * (1 + 1e-9):
                raise UserError(
                    f"layer {i}: a weight of magnitude {found:.4g} lies outside the conductance "
                    f"window, which holds up to {limit:.4g}; give the rule larger `limits`"
                )


def _card_of(chip: Chip | Design) -> Card:
    return (chip if isinstance(chip, Design) else chip.design).card


class _Identity(NamedTuple):
    """Which card it is; two with one name differ in what they contain."""

    name: str
    sha256: str


class _MadeOf(NamedTuple):
    """What devices are, and how long ago the feedback's were programmed, in seconds."""

    name: str
    sha256: str
    age: float
    scheme: str

    @classmethod
    def of(cls, devices: Devices) -> _MadeOf:
        scheme = type(devices.scheme).__name__
        return cls(devices.name, devices.model.sha256, devices.age, scheme)


def _on_arrays(design: Design, network: AnalogNetwork, limits: Sequence[float] | None) -> Design:
    """The design with crossbars like the network's arrays."""
    model, scheme = network.arrays[0].model, network.arrays[0].layout.mapping.scheme
    own = design.devices
    if own is not None and own.model != model:
        raise UserError("the chip's devices aren't those that hold the network's weights")
    scales = tuple(float(a.layout.scale.max()) for a in network.arrays)
    if limits is not None and tuple(limits) != scales:
        raise UserError(
            f"limits {tuple(limits)}: the window of the network's arrays stands for {scales}"
        )
    devices = Devices(model, scheme=scheme) if own is None else replace(own, scheme=scheme)
    if own is None or own.scheme != scheme or design.limits != scales:
        design = replace(design, devices=devices, limits=scales)
    units = tuple(design.weight_limit(i) for i in range(1, design.depth + 1))
    if units != scales:
        raise UserError(
            f"the window of the network's arrays stands for weights up to {scales}, that of the "
            f"chip for {units}; the chip must be made of the network's first weights, with scaling"
        )
    return design


def _check_fit(network: Network, design: Design) -> None:
    names = [phi.name for phi in network.activations]
    if network.sizes != design.sizes or tuple(names) != design.activations:
        raise UserError(
            f"a network of {network.sizes} with activations {', '.join(names)} on a chip of "
            f"{design.sizes} with {', '.join(design.activations)}: both must be equal"
        )
    first = network.weights[0]
    if first.dtype != torch.float64:
        raise UserError(f"a network in {first.dtype}: a chip is solved in float64")
