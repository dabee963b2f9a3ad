"""Target propagation through the exact inverses of the layers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.linalg import inverse
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.base import register
from analogdfc.learning.targets.base import FAMILY, TargetRule
from analogdfc.losses import Loss
from analogdfc.network import Forward, Network

# Above it, inverting a layer leaves less than four digits of a double.
_WORST_CONDITION = 1e12


class Inverse(NamedTuple):
    """The inverse of an activation function.

    Attributes:
        function: v = phi^-1(h), pointwise.
        low: least activation, not itself reached.
        high: largest activation, not itself reached.
    """

    function: Callable[[Tensor], Tensor]
    low: float
    high: float


INVERSES: dict[str, Inverse] = {
    "linear": Inverse(torch.clone, float("-inf"), float("inf")),
    "tanh": Inverse(torch.atanh, -1.0, 1.0),
    "sigmoid": Inverse(torch.logit, 0.0, 1.0),
}


@register(
    "tp",
    family=FAMILY,
    feedback="the inverses of the layers",
    local="no: inverts the forward weights",
    local_time="no: targets come after the free pass",
    equation="h^_i = f_{i+1}^-1(h^_{i+1})",
    source="Meulemans et al. 2020, eqs. 1-3 with Condition 1",
)
class InverseTargetPropagation(TargetRule):
    """Targets through the inverse of each layer, h^_i = f_{i+1}^-1(h^_{i+1}).

    The layers 2..L must be invertible (Meulemans et al. 2020, Condition 1): as many neurons as the
    layer below, an activation function with an inverse, and a matrix that isn't singular. The
    first layer needn't be, since no target goes to the input. As eta -> 0 the targets are those of
    Gauss-Newton with a block-diagonal curvature (Theorem 2).

    Args:
        network: the network that learns.
        loss: see `TargetRule`.
        target_stepsize: see `TargetRule`; tanh and sigmoid layers have targets only within their
            range, so there it must be small.
        frozen: see `TargetRule`.

    Raises:
        UserError: a layer that can't be inverted, or what `TargetRule` refuses.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        target_stepsize: float = 0.01,
        frozen: Collection[int] = (),
    ) -> None:
        super().__init__(network, loss, target_stepsize=target_stepsize, frozen=frozen)
        for i in range(2, network.depth + 1):
            _check_invertible(network, i)

    def _hidden(self, free: Forward, last: Tensor, y: Tensor) -> list[Tensor]:
        self._steps_seen.see(last, free.output)
        out = [last]
        for i in range(self.network.depth, 1, -1):
            name = self.network.activations[i - 1].name
            back = INVERSES[name]
            target = free.r[i] + out[0]
            outside = ~((target > back.low) & (target < back.high)).all(dim=1)
            if bool(outside.any()):
                raise ConvergenceError(
                    f"target propagation: the target of layer {i} leaves the range of {name}, "
                    f"{back.low:g} to {back.high:g}, in {int(outside.sum())} of {len(outside)} "
                    f"samples; lower target_stepsize = {self.target_stepsize:g}"
                )
            # h_{i-1} = W^-1 (v_i - b_i), so that the bias drops out of the difference.
            step = (back.function(target) - free.v[i - 1]) @ self._inverse(i).T
            out.insert(0, step)
        return out[:-1]

    def _inverse(self, i: int) -> Tensor:
        try:
            return inverse(self.network.weights[i - 1].detach())
        except ConvergenceError as error:
            raise ConvergenceError(
                f"target propagation: the weights of layer {i} became singular"
            ) from error


def _check_invertible(network: Network, i: int) -> None:
    """Refuse layer i, 2..L, if f_i has no inverse."""
    name, w = network.activations[i - 1].name, network.weights[i - 1]
    why = None
    if w.shape[0] != w.shape[1]:
        why = f"it has {w.shape[0]} neurons and layer {i - 1} has {w.shape[1]}"
    elif name not in INVERSES:
        why = f"{name} has no inverse; there are {', '.join(sorted(INVERSES))}"
    else:
        condition = float(np.linalg.cond(w.detach().double().cpu().numpy()))
        if not condition < _WORST_CONDITION:
            why = f"its weights are singular (condition number {condition:.2g})"
    if why is not None:
        raise UserError(
            f"tp needs an invertible network, and layer {i} is not: {why}. Rules with learned "
            "feedback, such as dtp-drl and ddtp-linear, work without inverses"
        )
