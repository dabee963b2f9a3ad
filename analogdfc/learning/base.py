"""What every learning rule is, and the registry of their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from analogdfc.errors import UserError
from analogdfc.network import Network


class RuleInfo(NamedTuple):
    """An entry of the registry.

    Attributes:
        name: the name on the command line.
        family: what it belongs to.
        feedback: the feedback weights that it needs.
        local_space: whether it is local in space: what a synapse learns from is at the synapse.
        local_time: whether it is local in time: it is there when the synapse learns.
        equation: what gives the update, in one line; the symbols are those of its docstring.
        source: paper and equation.
        rule: the class.
    """

    name: str
    family: str
    feedback: str
    local_space: str
    local_time: str
    equation: str
    source: str
    rule: type[LearningRule]


class LearningRule(ABC):
    """Writes the negative of its weight update into `.grad` of a network's parameters.

    Any `torch.optim` optimiser then makes the step.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> nn.Module | None:
        """A pathway of this rule that starts at random, for its argument `feedback`.

        Args:
            network: the network that learns.
            generator: source of the numbers, on the CPU.

        Returns:
            None for a rule without feedback weights, or with others unless told so.
        """
        return None

    @abstractmethod
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` from a batch.

        Args:
            x: inputs, (batch, n_0).
            y: labels, (batch, n_L).

        Returns:
            The mean loss of the batch before the update, a scalar.
        """

    def _write(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        updates = [*zip(self.network.weights, weights, strict=True)]
        updates += zip(self.network.biases, biases, strict=True)
        for parameter, update in updates:
            parameter.grad = update.neg()


RULES: dict[str, RuleInfo] = {}
_Rule = TypeVar("_Rule", bound=type[LearningRule])


def register(
    name: str,
    *,
    family: str,
    local: str,
    source: str,
    local_time: str = "",
    feedback: str = "none",
    equation: str = "",
) -> Callable[[_Rule], _Rule]:
    """Class decorator that enters a rule into the registry.

    Args:
        name: see `RuleInfo`, as of the others.
        family: what it belongs to.
        local: locality in space.
        source: paper and equation.
        local_time: locality in time.
        feedback: the feedback weights that it needs.
        equation: what gives the update.
    """

    def enter(rule: _Rule) -> _Rule:
        RULES[name] = RuleInfo(name, family, feedback, local, local_time, equation, source, rule)
        return rule

    return enter


def get_rule(name: str) -> RuleInfo:
    """The registered rule of that name.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    if name not in RULES:
        raise UserError(f"unknown learning rule {name!r}; there are {', '.join(sorted(RULES))}")
    return RULES[name]
