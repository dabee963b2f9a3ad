"""A chip at rest as an ideal loop: what turns its weights and voltages into those of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from analogdfc.circuit.conductances import Pair

_Tuple = TypeVar("_Tuple", bound=tuple[Any, ...])


class Cell(NamedTuple):
    """A tanh cell with its amplifier, r = gain tanh(slope v + input) + offset, dimensionless.

    Attributes:
        gain: (n,).
        input: (n,).
        offset: (n,).
        slope: of the cell's input to v: 1 where its scale is that of v.
    """

    gain: Tensor
    input: Tensor
    offset: Tensor
    slope: float


class FoldedLayer(NamedTuple):
    """One layer at rest; all signals dimensionless, tensors (n_i,) unless said otherwise.

    The loop's weights are those of the soma's input per unit of tanh in the layer below. Of a pair
    with w = (G+ - G-) / unit and s = (G+ + G-) / unit,

        W' = (w slope + s curve + rest) / (1 + loading (sum s - total)).

    Attributes:
        unit: siemens per unit of weight.
        quantum: step of the card's levels in units of weight; 0 for none.
        floor: s of a weight 0 in a pair at the card's g_min.
        slope: W' per difference of a pair, (n_i, n_{i-1}).
        curve: W' per sum of a pair, (n_i, n_{i-1}).
        bias_slope: the same for the bias.
        bias_curve: the same for the bias.
        rest: W' that came from other devices, through the wires, in the chip as it was made; None
            where devices are never far from open, so that it counts as a part of theirs.
        bias_rest: the same for the bias, with what the inverted rails' offsets bring.
        rail: offset of the inverted rails through the devices on them, per unit of weight,
            (n_i, n_{i-1}); None for the inputs' rails.
        centre: offset of the rails over their gain, (n_{i-1},); None for the inputs' rails.
        total: sum of s of a column, bias included, of the chip as it was made.
        loading: part of the basal amplifier's gain that a unit of that sum costs.
        offset: basal amplifier's offset at the soma's input.
        noise: relative growth of that offset per unit of the sum.
        constant: what the loop's v_ff has beyond the basal amplifier's signal.
        soma_gain: gain of the soma for that signal.
        push: Q', (n_i, n_L), per unit of the control signal as its amplifier makes it.
        act: the cell on v; None for linear neurons.
        act_ff: the cell on v_ff; None for linear neurons.
        inv_gain: gain of the inverter, positive; None in the output layer.
        inv_offset: its offset at the output; None in the output layer.
        steps: the same by whole levels of the card; None where devices are in its place.
    """

    unit: float
    quantum: float
    floor: float
    slope: Tensor
    curve: Tensor
    bias_slope: Tensor
    bias_curve: Tensor
    rest: Tensor | None
    bias_rest: Tensor | None
    rail: Tensor | None
    centre: Tensor | None
    total: Tensor
    loading: Tensor
    offset: Tensor
    noise: Tensor
    constant: Tensor
    soma_gain: Tensor
    push: Tensor
    act: Cell | None
    act_ff: Cell | None
    inv_gain: Tensor | None
    inv_offset: Tensor | None
    steps: Steps | None = None

    def stepped(self) -> FoldedLayer:
        """With what pairs of the card's devices give by their levels."""
        step, rail = self.quantum or 1.0, self.rail
        inputs = self.slope.shape[1] + 1
        steps = Steps(
            step,
            step * self.slope,
            step * self.curve,
            self.floor * self.curve,
            step * self.bias_slope,
            step * self.bias_curve,
            self.floor * self.bias_curve,
            None if rail is None else step * rail,
            None if rail is None else self.floor * rail.sum(dim=1),
            self.floor * inputs - self.total,
        )
        return self._replace(steps=steps)


class Steps(NamedTuple):
    """What a pair gives with one device at g_min, by the level k of the other, of either sign.

        W' share^-1 = k slope + |k| curve + rest,     s = |k| unit + floor.

    Attributes:
        unit: weight per level; 1 without levels.
        slope: W' per level, (n_i, n_{i-1}).
        curve: W' per level, whatever its sign, (n_i, n_{i-1}).
        rest: W' of level 0, (n_i, n_{i-1}).
        bias_slope: the same for the bias, (n_i,), as the next two.
        bias_curve: see curve.
        bias_rest: see rest.
        rail: offset of the inverted rails per level of the device on them, halved,
            (n_i, n_{i-1}); None for the inputs' rails.
        rail_rest: the same of all devices at level 0, (n_i,); None for the inputs' rails.
        least: sum of s of a column with all at level 0, less `total`, (n_i,).
    """

    unit: float
    slope: Tensor
    curve: Tensor
    rest: Tensor
    bias_slope: Tensor
    bias_curve: Tensor
    bias_rest: Tensor
    rail: Tensor | None
    rail_rest: Tensor | None
    least: Tensor


class Between(NamedTuple):
    """A bank of the controller whose rest follows from all of it.

    Attributes:
        name: the bank.
        rest: volts by those of the control signal's amplifier, the target and the auto-zero, and
            without them, (n_L, 4).
        free: volts of the free phase by those of the output, and without them, (n_L, 2).
    """

    name: str
    rest: Tensor
    free: Tensor


class FoldedControl(NamedTuple):
    """The controller at rest, (n_L,); voltages over the scales of v and u where dimensionless.

    The output that belongs to a control signal is

        r_L = balance r* + drive + zeroed zero - damping control.

    Attributes:
        error_gain: volts of the error amplifier per unit of r_L, positive.
        error_offset: its offset at the output, in volts.
        balance: weight of the target over that of the output.
        drive: output at which nothing drives the control signal.
        zeroed: what a volt of the auto-zero adds to it.
        held: voltage at the summing node for the auto-zero in the free phase, in volts.
        damping: error per unit of control signal, alpha_eff.
        baseline: control signal of the free phase, from which the loop counts.
        follow: its dependence on r_L, where no auto-zero takes the error away.
        inv_gain: gain of the inverter, positive.
        inv_offset: its offset at the output, in units of u.
        scale: control signal per unit of the loop's.
        output: the cell of a nonlinear output; None for a linear one.
        between: the controller's further amplifiers.
        auto_zero: as in the design's readout.
        relative: as in the design's readout.
        double_sampling: as in the design's readout.
    """

    error_gain: Tensor
    error_offset: Tensor
    balance: Tensor
    drive: Tensor
    zeroed: Tensor
    held: Tensor
    damping: Tensor
    baseline: Tensor
    follow: Tensor | None
    inv_gain: Tensor
    inv_offset: Tensor
    scale: Tensor
    output: Cell | None
    between: tuple[Between, ...]
    auto_zero: bool
    relative: bool
    double_sampling: bool

    def error(self, output: Tensor, goal: Tensor) -> Tensor:
        """Volts of the error amplifier."""
        return self.error_gain * (self.balance * goal - output) + self.error_offset

    def stored(self, free: Tensor) -> Tensor:
        """Volts that the auto-zero keeps from the free phase, whose output is given."""
        if not self.auto_zero:
            return torch.zeros_like(free)
        return self.error(free, free) - self.held

    @property
    def leak(self) -> Tensor:
        """Damping of the folded loop, whose output comes before the output's amplifier."""
        return self.damping if self.output is None else self.damping / self.output.gain

    def measured(self, output: Tensor) -> Tensor:
        """Measured output of the folded loop's."""
        if self.output is None:
            return output
        return torch.addcmul(self.output.offset, output, self.output.gain)

    def target(self, goal: Tensor, zero: Tensor) -> Tensor:
        """Target of the folded loop."""
        drive = self.drive + self.zeroed * zero
        target = self.balance * goal + drive - self.damping * self.baseline
        if self.output is None:
            return target
        return (target - self.output.offset) / self.output.gain


def moved(folded: _Tuple, move: Callable[[Tensor], Tensor]) -> _Tuple:
    """A tuple with all tensors in it, at any depth, moved."""

    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            return move(value)
        if not isinstance(value, tuple):
            return value
        return moved(value, move) if hasattr(value, "_fields") else tuple(map(one, value))

    return type(folded)(*map(one, folded))


def nominal_pair(weights: Tensor, unit: float, g_min: float) -> Pair:
    """Conductances of weights, before any deviation."""
    return Pair(g_min + unit * weights.clamp(min=0), g_min + unit * (-weights).clamp(min=0))


def on_levels(weights: Tensor, quantum: float) -> Tensor:
    """The weights on the nearest levels, a new tensor; as they are where quantum is 0."""
    if quantum == 0:
        return weights
    return (weights / quantum).round_().mul_(quantum)


def refolded_layer(
    layer: FoldedLayer, w: Tensor, b: Tensor, *, rounded: bool
) -> tuple[Tensor, Tensor]:
    """Weights and biases of the loop for nominal ones, whose pairs have a device at g_min."""
    steps = layer.steps
    assert steps is not None
    w, b = w / steps.unit, b / steps.unit
    if rounded and layer.quantum:
        w, b = w.round_(), b.round_()
    size, bias_size = w.abs(), b.abs()
    grown = (size.sum(dim=1) + bias_size) * steps.unit + steps.least
    weights = torch.addcmul(steps.rest, w, steps.slope).addcmul_(size, steps.curve)
    bias = steps.bias_rest + b * steps.bias_slope + bias_size * steps.bias_curve
    if steps.rail is not None and steps.rail_rest is not None:
        bias = bias + size.sub_(w).mul_(steps.rail).sum(dim=1) + steps.rail_rest
    return _loaded(layer, weights, bias, grown)


class Held(NamedTuple):
    """What the pairs of a forward crossbar hold, whatever they were programmed to.

    Attributes:
        weights: differences G+ - G-, in units of weight, (n_i, n_{i-1}).
        biases: the same for the bias, (n_i,).
        sums: G+ + G-, (n_i, n_{i-1} + 1), bias last, in siemens.
    """

    weights: Tensor
    biases: Tensor
    sums: Tensor

    @classmethod
    def of(cls, pair: Pair, unit: float) -> Held:
        """What these conductances hold, at so many siemens per unit of weight."""
        w = (pair.plus - pair.minus) / unit
        return cls(w[:, :-1].contiguous(), w[:, -1].contiguous(), pair.plus + pair.minus)

    def pair(self, unit: float) -> Pair:
        """Their conductances."""
        apart = torch.cat([self.weights, self.biases.unsqueeze(-1)], dim=1) * unit
        return Pair((self.sums + apart) / 2, (self.sums - apart) / 2)


def refolded_held(layer: FoldedLayer, held: Held) -> tuple[Tensor, Tensor]:
    """Weights and biases of the loop for what pairs hold."""
    sizes = held.sums / layer.unit
    return _folded(layer, held.weights, held.biases, sizes[:, :-1], sizes[:, -1])


def _folded(
    layer: FoldedLayer, w: Tensor, b: Tensor, size: Tensor, bias_size: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights and biases of the loop for differences and sums of pairs; changes the sums."""
    grown = size.sum(dim=1) + bias_size - layer.total
    weights = torch.addcmul(w * layer.slope, size, layer.curve)
    bias = torch.addcmul(b * layer.bias_slope, bias_size, layer.bias_curve)
    if layer.rest is not None and layer.bias_rest is not None:
        weights.add_(layer.rest)
        bias = bias + layer.bias_rest
    if layer.rail is not None:
        bias = bias + size.sub_(w).mul_(layer.rail).sum(dim=1)
    return _loaded(layer, weights, bias, grown)


def _loaded(
    layer: FoldedLayer, weights: Tensor, bias: Tensor, grown: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights and biases behind an amplifier that a column loads; changes the weights."""
    share = 1 / (1 + layer.loading * grown)
    weights.mul_(share.unsqueeze(-1))
    bias = (bias + layer.offset * (1 + layer.noise * grown)) * share + layer.constant
    return weights, bias if layer.centre is None else bias + weights @ layer.centre
