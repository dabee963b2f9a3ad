"""A chip at rest as an ideal loop: what turns its weights and voltages into those of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

_Tuple = TypeVar("_Tuple", bound=tuple[Any, ...])


class Cell(NamedTuple):
    """A tanh cell with its amplifier, r = gain tanh(v + input) + offset, (n,), dimensionless."""

    gain: Tensor
    input: Tensor
    offset: Tensor


class FoldedLayer(NamedTuple):
    """One layer at rest; all signals dimensionless, tensors (n_i,) unless said otherwise.

    The loop's weights are those of the soma's input per unit of tanh in the layer below,

        W' = (base + w slope + |w| base bend) / (1 + loading (sum |w| - total)).

    Attributes:
        unit: siemens per unit of weight.
        quantum: step of the card's levels in units of weight; 0 for none.
        base: W' of weights 0, (n_i, n_{i-1}).
        slope: its derivative by the pair's difference, (n_i, n_{i-1}).
        bend: siemens per unit of weight over twice the least conductance.
        bias_base: the same for the bias.
        bias_slope: the same for the bias.
        rail: offset of the inverted rails through the devices on them, per unit of weight,
            (n_i, n_{i-1}); None for the inputs' rails.
        rail_base: their sum for weights 0.
        centre: offset of the rails over their gain, (n_{i-1},); None for the inputs' rails.
        total: sum of |w| of a column, bias included, of the chip as it was made.
        loading: part of the basal amplifier's gain that a unit of that sum costs.
        offset: basal amplifier's offset at the soma's input.
        noise: relative growth of that offset per unit of the sum.
        constant: what the loop's v_ff has beyond the basal amplifier's signal.
        soma_gain: gain of the soma for that signal.
        push: Q', (n_i, n_L), per unit of the control signal behind the PI amplifier.
        act: the cell on v; None in the output layer.
        act_ff: the cell on v_ff.
        inv_gain: gain of the inverter, positive.
        inv_offset: its offset at the output.
    """

    unit: float
    quantum: float
    base: Tensor
    slope: Tensor
    bend: float
    bias_base: Tensor
    bias_slope: Tensor
    rail: Tensor | None
    rail_base: Tensor | None
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


class FoldedControl(NamedTuple):
    """The controller at rest, (n_L,); voltages over the scales of v and u where dimensionless.

    Attributes:
        error_gain: volts of the error amplifier per unit of r_L, positive.
        error_offset: its offset at the output, in volts.
        balance: weight of the target over that of the output.
        pull: what drives the integrator at u = 0, in volts.
        held: voltage at the integrator's summing node in the free phase, in volts.
        damping: error per unit of control signal, alpha_eff.
        baseline: control signal of the free phase, from which the loop counts.
        follow: its dependence on r_L, where no auto-zero takes the error away.
        inv_gain: gain of the inverter, positive.
        inv_offset: its offset at the output, in units of u.
        scale: control signal per unit of the loop's.
        auto_zero: as in the design's readout.
        relative: as in the design's readout.
        double_sampling: as in the design's readout.
    """

    error_gain: Tensor
    error_offset: Tensor
    balance: Tensor
    pull: Tensor
    held: Tensor
    damping: Tensor
    baseline: Tensor
    follow: Tensor | None
    inv_gain: Tensor
    inv_offset: Tensor
    scale: Tensor
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

    def target(self, goal: Tensor, zero: Tensor) -> Tensor:
        """Target of the folded loop."""
        drive = (self.error_offset - zero - self.pull) / self.error_gain
        return self.balance * goal + drive - self.damping * self.baseline


def moved(folded: _Tuple, move: Callable[[Tensor], Tensor]) -> _Tuple:
    """A tuple with all tensors in it, at any depth, moved."""

    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            return move(value)
        return moved(value, move) if isinstance(value, tuple) else value

    return type(folded)(*map(one, folded))


def nominal_pair(weights: Tensor, unit: float, g_min: float) -> tuple[Tensor, Tensor]:
    """Conductances G+ and G- of weights, before any deviation, in siemens."""
    return g_min + unit * weights.clamp(min=0), g_min + unit * (-weights).clamp(min=0)


def on_levels(weights: Tensor, quantum: float) -> Tensor:
    """The weights on the nearest levels, a new tensor; as they are where quantum is 0."""
    if quantum == 0:
        return weights
    return (weights / quantum).round_().mul_(quantum)


def refolded_layer(
    layer: FoldedLayer, w: Tensor, b: Tensor, *, rounded: bool
) -> tuple[Tensor, Tensor]:
    """Weights and biases of the loop for nominal ones."""
    if rounded:
        w, b = on_levels(w, layer.quantum), on_levels(b, layer.quantum)
    size = w.abs()
    grown = size.sum(dim=1) + b.abs() - layer.total
    share = 1 / (1 + layer.loading * grown)
    weights = torch.addcmul(layer.base, w, layer.slope)
    weights.addcmul_(size, layer.base, value=layer.bend)
    weights.mul_(share.unsqueeze(-1))
    bias = layer.bias_base * (1 + layer.bend * b.abs()) + b * layer.bias_slope
    bias = bias + layer.offset * (1 + layer.noise * grown)
    if layer.rail is not None and layer.rail_base is not None and layer.centre is not None:
        bias = bias + layer.rail_base + size.sub_(w).mul_(layer.rail).sum(dim=1)
        return weights, bias * share + weights @ layer.centre + layer.constant
    return weights, bias * share + layer.constant
