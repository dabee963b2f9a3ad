"""Learning by one rule first and by another afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.learning.base import ControlLoop, LearningRule, name_of
from analogdfc.states import State, checked, inside, part


class Switched(LearningRule):
    """One rule for so many mini-batches, then another on the same network.

    As in the supplementary fig. 14 of Lillicrap et al. 2016, where backpropagation hands over to
    feedback alignment. The optimiser keeps its moments.

    Args:
        first: the rule that begins; the loss is its own.
        second: the rule that goes on.
        after: mini-batches that the first learns from, >= 1.

    Attributes:
        steps: mini-batches so far.

    Raises:
        UserError: rules of two networks, with two losses, or no mini-batches.
    """

    def __init__(self, first: LearningRule, second: LearningRule, *, after: int) -> None:
        super().__init__(first.network, first.loss)
        if second.network is not first.network or type(second.loss) is not type(first.loss):
            raise UserError("rules that follow each other need one network and one loss")
        if after < 1:
            raise UserError(f"after = {after}: the first rule learns from 1 or more mini-batches")
        self.first, self.second, self.after = first, second, after
        self.steps = 0
        self.called = f"{name_of(first)}, then {name_of(second)}"

    @property
    def current(self) -> LearningRule:
        """The rule that the next mini-batch is learned by."""
        return self.first if self.steps < self.after else self.second

    def settings(self) -> dict[str, Any]:
        """Of both rules, and when they change places."""
        return {
            "first": {"rule": name_of(self.first), **self.first.settings()},
            "second": {"rule": name_of(self.second), **self.second.settings()},
            "after": self.after,
        }

    def counters(self) -> dict[str, int]:
        """`steps`, the mini-batches so far."""
        return {"steps": self.steps}

    def figures(self) -> dict[str, float]:
        """With those of both rules, as `first_...` and `second_...`."""
        return {
            **super().figures(),
            **{f"first_{name}": value for name, value in self.first.figures().items()},
            **{f"second_{name}": value for name, value in self.second.figures().items()},
        }

    def generators(self) -> dict[str, torch.Generator]:
        """Of both rules."""
        return {
            **{f"first_{name}": g for name, g in self.first.generators().items()},
            **{f"second_{name}": g for name, g in self.second.generators().items()},
        }

    def control_loop(self) -> ControlLoop | None:
        """Of the rule whose turn it is."""
        return self.current.control_loop()

    def notes(self) -> list[str]:
        """Of both rules."""
        return [*self.first.notes(), *self.second.notes()]

    def state_dict(self) -> State:
        """`counters/steps`, and the states of both rules under `first` and `second`."""
        return {
            "counters/steps": self.steps,
            **inside("first", self.first.state_dict()),
            **inside("second", self.second.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on exactly where another one was; see `LearningRule.load_state_dict`."""
        state = checked(state, self.state_dict())
        self.first.load_state_dict(part("first", state))
        self.second.load_state_dict(part("second", state))
        self.steps = int(state["counters/steps"])

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` by the rule whose turn it is; see `LearningRule.backward`."""
        loss = self.current.backward(x, y)
        self.steps += 1
        return loss
