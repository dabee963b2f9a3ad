"""A design: a network, its feedback and its controller, placed on a technology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.cards.technology import Card
from analogdfc.circuit.description import check_activations, check_controller
from analogdfc.controller import PI, Controller
from analogdfc.dynamics import Loop
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, Feedback
from analogdfc.network import Network


@dataclass(frozen=True)
class Readout:
    """How a chip reads its update; all three realisations honour the switches.

    Attributes:
        double_sampling: subtract the free phase's phi(v) - phi(v_ff) from the update.
        auto_zero: store the error amplifier's output of the free phase and subtract it, so that
            offsets of the controller don't shift the steady state.
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
        scaling: shrink the conductances of a layer whose weights don't fit the window; without it
            such weights are an error.
        activations: names of phi_1..phi_L; by default tanh, and a linear output.

    Raises:
        UserError: shapes that don't fit, numbers that aren't finite, weights outside the window
            with `scaling` off, a controller or an activation that has no circuit.
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

    def __post_init__(self) -> None:
        if not self.activations:
            default = (*["tanh"] * (len(self.weights) - 1), "linear")
            object.__setattr__(self, "activations", default)
        if not self.tau_v > 0:
            raise UserError(f"tau_v = {self.tau_v}: a time constant must be > 0")
        _check_shapes(self.weights, self.biases, self.feedback)
        check_controller(self.controller)
        check_activations(self.activations, self.depth)
        for i in range(1, self.depth + 1):
            for kind, largest in (("W", self._largest_weight(i)), ("Q", self._largest_feedback(i))):
                unit = self.card.device.g_unit * (self._volt_ratio if kind == "Q" else 1)
                allowed = self._window / unit
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
    ) -> Design:
        """Place a network on a technology.

        Raises:
            UserError: feedback through a network, or what the class itself refuses.
        """
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
        """The same network on another technology."""
        return replace(self, card=card)

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
    def _window(self) -> float:
        return self.card.device.g_max - self.card.device.g_min

    def _largest_weight(self, i: int) -> float:
        return max(float(t.abs().max()) for t in (self.weights[i - 1], self.biases[i - 1]))

    def _largest_feedback(self, i: int) -> float:
        return float(self.feedback[i - 1].abs().max())

    def weight_unit(self, i: int) -> float:
        """Siemens per unit of weight in the forward crossbar of layer i.

        The card's `g_unit`, or less where the largest weight would leave the window.
        """
        largest = self._largest_weight(i)
        unit = self.card.device.g_unit
        return min(unit, self._window / largest) if largest > 0 else unit

    def feedback_unit(self, i: int) -> float:
        """Siemens per unit of feedback weight in the feedback crossbar of layer i.

        `g_unit` S_v / S_u, since its rows carry u in volts, or less where Q doesn't fit.
        """
        largest = self._largest_feedback(i)
        unit = self.card.device.g_unit * self._volt_ratio
        return min(unit, self._window / largest) if largest > 0 else unit

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
        """Capacitance of one column of layer i's forward or feedback crossbar, in farads."""
        inputs = self.sizes[-1] if feedback else self.sizes[i - 1] + 1
        return 2 * inputs * self._cell_capacitance

    def row_capacitance(self, i: int) -> float:
        """Capacitance of one row of either crossbar of layer i, in farads."""
        return self.sizes[i] * self._cell_capacitance

    @property
    def _cell_capacitance(self) -> float:
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
