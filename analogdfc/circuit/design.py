"""A design: a network, its feedback and its controller, placed on a technology."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.cards.technology import IMPERFECTIONS as OF_CARD
from analogdfc.cards.technology import Card
from analogdfc.circuit.description import Compartments, check_activations, check_controller
from analogdfc.circuit.devices import IMPERFECTIONS as OF_DEVICES
from analogdfc.circuit.devices import Devices
from analogdfc.controller import PI, Controller
from analogdfc.devices import Window
from analogdfc.dynamics import Loop
from analogdfc.errors import UserError, check_names
from analogdfc.feedback import DirectFeedback, Feedback
from analogdfc.network import Network, check_network
from analogdfc.states import digest

IMPERFECTIONS = tuple(dict.fromkeys((*OF_CARD, *OF_DEVICES)))
"""Names of all imperfections that a design can have: its card's and its devices'."""

_OF_CROSSBARS = ("device mismatch", "finite levels")
"""Imperfections of the card in whose place devices have their own."""


@dataclass(frozen=True)
class Readout:
    """How a chip reads its update; all three realisations honour the switches.

    Attributes:
        double_sampling: subtract the free phase's phi(v) - phi(v_ff) from the update.
        auto_zero: store the error amplifier's output of the free phase and subtract it, so that
            offsets of the controller don't shift the steady state; without an integrator, those
            behind the error amplifier still do, in PD that of the differentiator too.
        relative_target: r* = measured free output + step; else the output that the ideal weights
            would give + step.
    """

    double_sampling: bool = True
    auto_zero: bool = True
    relative_target: bool = True


@dataclass(frozen=True)
class Design:
    """A network, its feedback and its controller on a technology; owns all scaling between them.

    Attributes:
        weights: W_1..W_L, (n_i, n_{i-1}), dimensionless, float64.
        biases: b_1..b_L, (n_i,).
        feedback: Q_1..Q_L, (n_i, n_L).
        controller: the controller; one unit of its time is `card.scale.time` seconds.
        tau_v: time constant of the neurons, in the controller's unit of time.
        card: the technology.
        readout: how the update is read.
        scaling: shrink the conductances of a layer whose weights don't fit the window, and with
            devices let the largest weight of each layer reach the end of their window; without it
            every layer has the card's `g_unit`, and weights that don't fit are an error.
        activations: names of phi_1..phi_L; by default tanh, and a linear output.
        devices: what the crossbars are made of, in place of the card's [device] g_min, g_max,
            levels and mismatch; None for those.
        limits: weights of layers 1..L that the conductances leave room for, beside those that are
            there, since weights grow in training; empty for no such room.
        feedback_limits: the same for the feedback weights.
        compartments: feedback compartments with a signal of their own, which noise can be put
            into; None where the somas sum the feedback themselves.

    Raises:
        UserError: shapes that don't fit, numbers that aren't finite, weights outside the window
            with `scaling` off, a controller or an activation that has no circuit, not one limit
            > 0 a layer.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    feedback: tuple[Tensor, ...]
    controller: Controller
    tau_v: float
    card: Card
    readout: Readout = Readout()
    scaling: bool = True
    activations: tuple[str, ...] = ()
    devices: Devices | None = None
    limits: tuple[float, ...] = ()
    feedback_limits: tuple[float, ...] = ()
    compartments: Compartments | None = None

    def __post_init__(self) -> None:
        if not self.activations:
            default = (*["tanh"] * (len(self.weights) - 1), "linear")
            object.__setattr__(self, "activations", default)
        if not 1e-9 <= self.tau_v <= 1e9:
            raise UserError(
                f"tau_v = {self.tau_v}: a time constant must be > 0, from 1e-9 to 1e9 units of time"
            )
        _check_shapes(self.weights, self.biases, self.feedback)
        check_controller(self.controller)
        check_activations(self.activations, self.depth)
        for name in ("limits", "feedback_limits"):
            given = getattr(self, name)
            if given and not (len(given) == self.depth and all(limit > 0 for limit in given)):
                raise UserError(f"{name} {given}: one number > 0 for each of {self.depth} layers")
        self._check_window()

    def _check_window(self) -> None:
        """Refuse weights outside the window where they aren't scaled."""
        for i in range(1, self.depth + 1):
            for kind, largest in (("W", self._largest_weight(i)), ("Q", self._largest_feedback(i))):
                unit = self.card.device.g_unit * (self._volt_ratio if kind == "Q" else 1)
                allowed = self.window.span / unit
                if largest > allowed and not self.scaling:
                    raise UserError(
                        f"{kind}{i}: largest magnitude {largest:.4g} lies outside the conductance "
                        f"window; up to {allowed:.4g} fits. Allow scaling or lower [device] g_unit"
                    )

    @classmethod
    def of(
        cls,
        network: Network,
        feedback: Feedback,
        card: Card,
        *,
        controller: Controller | None = None,
        tau_v: float = 0.2,
        readout: Readout | None = None,
        scaling: bool = True,
        devices: Devices | None = None,
    ) -> Design:
        """Place a network on a technology.

        Args:
            network: the network.
            feedback: its feedback pathway; direct.
            card: the technology.
            controller: its controller; by default `PI()`.
            tau_v: time constant of the neurons, > 0, in the controller's unit of time.
            readout: how the update is read; by default as `Readout()` does.
            scaling: see the class.
            devices: what the crossbars are made of; None for resistors as the card has them.

        Raises:
            UserError: feedback through a network, or what the class itself refuses.
        """
        check_network(network)
        if not isinstance(feedback, DirectFeedback):
            raise UserError(
                f"{type(feedback).__name__}: the feedback crossbars realise DirectFeedback only"
            )

        def copies(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(t.detach().to("cpu", torch.float64).clone() for t in tensors)

        return cls(
            copies(list(network.weights)),
            copies(list(network.biases)),
            copies(list(feedback.matrices)),
            controller or PI(),
            tau_v,
            card,
            readout or Readout(),
            scaling,
            tuple(phi.name for phi in network.activations),
            devices,
        )

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.weights)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of layers 0..L."""
        return (self.weights[0].shape[1], *(w.shape[0] for w in self.weights))

    def on(self, card: Card) -> Design:
        """The same network on another technology.

        Args:
            card: the technology.
        """
        return replace(self, card=card)

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Names of the imperfections, of those in `IMPERFECTIONS`: the card's, then the devices'.

        Devices bring their own levels and deviations in place of the card's.
        """
        if self.devices is None:
            return self.card.imperfections
        of_card = (name for name in self.card.imperfections if name not in _OF_CROSSBARS)
        return (*of_card, *self.devices.imperfections)

    def without(self, *names: str) -> Self:
        """The same design with the named imperfections switched off.

        Args:
            names: of `IMPERFECTIONS`.

        Raises:
            UserError: a name that isn't in `IMPERFECTIONS`.
        """
        check_names(names, IMPERFECTIONS, "imperfection")
        devices = self.devices
        if devices is not None:
            devices = devices.without(*(name for name in names if name in OF_DEVICES))
        card = self.card.without(*(name for name in names if name in OF_CARD))
        return replace(self, card=card, devices=devices)

    def ideal(self) -> Self:
        """The same design without any imperfection."""
        return self.without(*IMPERFECTIONS)

    def loop(self) -> Loop:
        """The ideal loop that this design should realise."""
        activations = tuple(map(get_activation, self.activations))
        return Loop(
            self.weights, self.biases, self.feedback, activations, self.controller, self.tau_v
        )

    # The scaling between the dimensionless network and the circuit: here and nowhere else.

    @property
    def _volt_ratio(self) -> float:
        return self.card.scale.activation / self.card.scale.control

    @property
    def window(self) -> Window:
        """Range and levels of the crossbars' conductances: of the devices, else of the card."""
        if self.devices is not None:
            return self.devices.model.window
        device = self.card.device
        levels = None if device.levels is None else int(device.levels)
        return Window(device.g_min, device.g_max, levels)

    @cached_property
    def _largest(self) -> tuple[float, ...]:
        """Largest magnitude among weights and biases of each layer."""
        layers = zip(self.weights, self.biases, strict=True)
        return tuple(max(float(t.abs().max()) for t in layer) for layer in layers)

    def _largest_weight(self, i: int) -> float:
        return max(self.limits[i - 1] if self.limits else 0.0, self._largest[i - 1])

    def _largest_feedback(self, i: int) -> float:
        room = self.feedback_limits[i - 1] if self.feedback_limits else 0.0
        return max(room, float(self.feedback[i - 1].abs().max()))

    def weight_unit(self, i: int) -> float:
        """Siemens per unit of weight in the forward crossbar of layer i.

        The card's `g_unit`, or less where the largest weight would leave the window. With devices
        and scaling, what puts the largest weight at the end of their window.

        Args:
            i: number of the layer, 1 to L.
        """
        return self._unit(self.card.device.g_unit, self._largest_weight(i))

    def feedback_unit(self, i: int) -> float:
        """Siemens per unit of feedback weight in the feedback crossbar of layer i.

        `g_unit` S_v / S_u, since its rows carry u in volts, or less where Q doesn't fit; with
        devices as for the weights.

        Args:
            i: number of the layer, 1 to L.
        """
        return self._unit(self.card.device.g_unit * self._volt_ratio, self._largest_feedback(i))

    def _unit(self, unit: float, largest: float) -> float:
        span = self.window.span
        if self.devices is not None and self.scaling:
            return span / largest if largest > 0 else unit
        return min(unit, span / largest) if largest > 0 else unit

    def weight_limit(self, i: int) -> float:
        """Weight that the end of the window stands for in the forward crossbar of layer i.

        Args:
            i: number of the layer, 1 to L.
        """
        return self._limit(self.weight_unit(i), self._largest_weight(i))

    def feedback_limit(self, i: int) -> float:
        """The same for the feedback crossbar.

        Args:
            i: number of the layer, 1 to L.
        """
        return self._limit(self.feedback_unit(i), self._largest_feedback(i))

    def _limit(self, unit: float, largest: float) -> float:
        # Where it fills the window the weight itself, free of the rounding of two divisions.
        filled = self.devices is not None and self.scaling and largest > 0
        return largest if filled else self.window.span / unit

    def shrunk_layers(self) -> dict[str, float]:
        """Crossbars whose conductances had to be scaled down to fit the window, with the factor."""
        unit = self.card.device.g_unit
        factors = {f"W{i}": self.weight_unit(i) / unit for i in range(1, self.depth + 1)}
        factors |= {
            f"Q{i}": self.feedback_unit(i) / (unit * self._volt_ratio)
            for i in range(1, self.depth + 1)
        }
        return {name: factor for name, factor in factors.items() if factor < 1 - 1e-12}

    def column_capacitance(self, i: int, *, feedback: bool = False) -> float:
        """Capacitance of one column of layer i's forward or feedback crossbar, in farads.

        Args:
            i: number of the layer, 1 to L.
            feedback: of the feedback crossbar, else of the forward one.
        """
        inputs = self.sizes[-1] if feedback else self.sizes[i - 1] + 1
        return 2 * inputs * self.cell_capacitance

    def row_capacitance(self, i: int) -> float:
        """Capacitance of one row of either crossbar of layer i, in farads.

        Args:
            i: number of the layer, 1 to L.
        """
        return self.sizes[i] * self.cell_capacitance

    @property
    def cell_capacitance(self) -> float:
        """Capacitance of a crossbar's line from one cell to the next, in farads."""
        if self.card.amplifier.gain_bandwidth is None:
            return 0.0
        return self.card.wire.capacitance or 0.0

    @property
    def seconds(self) -> float:
        """Seconds per unit of time."""
        return self.card.scale.time

    @property
    def tau_v_seconds(self) -> float:
        """Time constant of the neurons in seconds."""
        return self.tau_v * self.seconds

    @property
    def tau_u_seconds(self) -> float:
        """Time constant of the controller in seconds."""
        return self.controller.tau_u * self.seconds

    @property
    def sha256(self) -> str:
        """Digest of all that a chip of this design depends on."""
        parts = [
            self.card.model_dump(exclude={"text"}),
            [digest(t) for t in (*self.weights, *self.biases, *self.feedback)],
            [str(self.controller), self.tau_v, str(self.readout), self.scaling],
            [list(self.activations), list(self.limits)],
            None if self.devices is None else self.devices.sha256,
            *([list(self.feedback_limits)] if self.feedback_limits else []),
            *([str(self.compartments)] if self.compartments is not None else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def pace(self) -> tuple[str, float]:
        """The longest finite time constant of the algorithm: its name, and its seconds."""
        constants = ("tau_u", self.tau_u_seconds), ("tau_v", self.tau_v_seconds)
        return max((c for c in constants if math.isfinite(c[1])), key=lambda c: c[1])


def _check_shapes(
    weights: Sequence[Tensor], biases: Sequence[Tensor], feedback: Sequence[Tensor]
) -> None:
    if not weights or not len(weights) == len(biases) == len(feedback):
        raise UserError(
            f"{len(weights)} weight matrices, {len(biases)} biases, {len(feedback)} feedback "
            "matrices: one of each for every layer is needed"
        )
    if any(t.ndim != 2 for t in (*weights, *feedback)):
        raise UserError("weights and feedback must be matrices")
    n_in, n_out = weights[0].shape[1], weights[-1].shape[0]
    for i, (w, b, q) in enumerate(zip(weights, biases, feedback, strict=True), start=1):
        n = w.shape[0]
        for name, tensor, expected in (
            (f"W{i}", w, (n, n_in)),
            (f"b{i}", b, (n,)),
            (f"Q{i}", q, (n, n_out)),
        ):
            if tuple(tensor.shape) != expected:
                raise UserError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")
            if not torch.isfinite(tensor).all():
                where = [int(k) for k in torch.nonzero(~torch.isfinite(tensor))[0]]
                raise UserError(
                    f"{name} at {where} (counted from 0) is {float(tensor[tuple(where)])}; "
                    "every number must be finite"
                )
        n_in = n
