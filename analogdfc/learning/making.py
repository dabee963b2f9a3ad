"""Rules by their names, with feedback and noise from one source of random numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from analogdfc.learning.base import LearningRule, get_rule
from analogdfc.learning.ranks import check_not_wrapped
from analogdfc.losses import Loss
from analogdfc.network import Network, check_network

_PASSED_ON = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def make_rule(
    name: str,
    network: Network,
    *,
    loss: Loss | None = None,
    feedback: nn.Module | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> LearningRule:
    """The rule of that name on a network.

    Args:
        name: a key of `RULES`.
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
        feedback: the feedback pathway; by default a random one where the rule has such, else the
            rule's own default.
        generator: where random feedback and the seed of the rule's noise come from, on the CPU; by
            default a new one with seed 0.
        options: further arguments of the rule.

    Raises:
        UserError: an unknown name, or what the rule refuses.
        TypeError: an argument that the rule doesn't have.
    """
    kind = get_rule(name).rule
    check_not_wrapped(network, feedback)
    check_network(network)
    generator = generator or torch.Generator().manual_seed(0)
    given: dict[str, Any] = {"loss": loss, **options}
    if feedback is None:
        feedback = kind.random_feedback(network, generator)
    if feedback is not None:
        given["feedback"] = feedback
    # A stream of its own, on the network's device, from the one seed.
    seed = int(torch.randint(2**62, (), generator=generator))
    if "generator" in arguments(kind):
        device = network.weights[0].device
        given["generator"] = torch.Generator(device).manual_seed(seed)
    make: Callable[..., LearningRule] = kind
    return make(network, **given)


def arguments(kind: type) -> dict[str, inspect.Parameter]:
    """The arguments of a class by name, those too that it passes on to the class below it.

    Args:
        kind: the class, such as that of a rule.

    Returns:
        Without `self`; the class's own before those passed on.
    """
    out: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        kinds = {p.kind for p in parameters.values()}
        for name, parameter in parameters.items():
            if name != "self" and parameter.kind not in _PASSED_ON:
                out.setdefault(name, parameter)
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return out
