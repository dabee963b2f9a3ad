"""Activation functions with their derivatives, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.errors import UserError


class Activation(NamedTuple):
    """A pointwise nonlinearity.

    Attributes:
        name: the name that selects it.
        function: r = phi(v), pointwise, dimensionless.
        derivative: phi'(v), as a function of v.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


def _tanh_derivative(v: Tensor) -> Tensor:
    return 1 - torch.tanh(v) ** 2


def _sigmoid_derivative(v: Tensor) -> Tensor:
    r = torch.sigmoid(v)
    return r * (1 - r)


def _identity(v: Tensor) -> Tensor:
    return v


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("tanh", torch.tanh, _tanh_derivative),
        Activation("linear", _identity, torch.ones_like),
        Activation("relu", torch.relu, lambda v: (v > 0).to(v.dtype)),
        Activation("sigmoid", torch.sigmoid, _sigmoid_derivative),
    )
}


def get_activation(name: str) -> Activation:
    """The activation of that name.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise UserError(
            f"unknown activation {name!r}; there are {', '.join(sorted(ACTIVATIONS))}"
        ) from None
