"""Activation functions with their derivatives, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.errors import UserError

__all__ = ["ACTIVATIONS", "Activation", "get_activation"]


class Activation(NamedTuple):
    """A pointwise nonlinearity.

    Attributes:
        name: the name that selects it.
        function: r = phi(v), pointwise, dimensionless.
        derivative: phi'(v), as a function of v.
        slope: the same as a function of r = phi(v), which spares computing phi again.

    What is registered is copied and pickled by its name, whatever its functions are.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]

    def __reduce__(self) -> tuple[Callable[..., Activation], tuple[Any, ...]]:
        if ACTIVATIONS.get(self.name) is self:
            return get_activation, (self.name,)
        return Activation, tuple(self)


def _tanh_slope(r: Tensor) -> Tensor:
    return torch.addcmul(torch.ones_like(r), r, r, value=-1)


def _tanh_derivative(v: Tensor) -> Tensor:
    return _tanh_slope(torch.tanh(v))


def _sigmoid_slope(r: Tensor) -> Tensor:
    return r * (1 - r)


def _sigmoid_derivative(v: Tensor) -> Tensor:
    return _sigmoid_slope(torch.sigmoid(v))


def _step(v: Tensor) -> Tensor:
    return (v > 0).to(v.dtype)


def _identity(v: Tensor) -> Tensor:
    return v


# Slope of the piecewise-linear unit below 0 (Lillicrap et al. 2016, eq. 1): a unit that feedback
# alignment drives there before its weights have aligned still learns.
_SLOPE = 1 / 20


def _piecewise_linear(v: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu(v, _SLOPE)


def _piecewise_linear_derivative(v: Tensor) -> Tensor:
    return torch.where(v > 0, torch.ones_like(v), torch.full_like(v, _SLOPE))


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("tanh", torch.tanh, _tanh_derivative, _tanh_slope),
        Activation("linear", _identity, torch.ones_like, torch.ones_like),
        Activation("relu", torch.relu, _step, _step),
        Activation("sigmoid", torch.sigmoid, _sigmoid_derivative, _sigmoid_slope),
        Activation(
            "piecewise-linear",
            _piecewise_linear,
            _piecewise_linear_derivative,
            _piecewise_linear_derivative,
        ),
    )
}


def get_activation(name: str) -> Activation:
    """The activation of that name.

    Args:
        name: a key of `ACTIVATIONS`.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise UserError(
            f"unknown activation {name!r}; there are {', '.join(sorted(ACTIVATIONS))}"
        ) from None


def register_activation(activation: Activation) -> Activation:
    """Enter an activation, so that networks, presets and records find it by its name.

    Args:
        activation: the activation.

    Returns:
        The same.

    Raises:
        UserError: the name is taken by another one.
    """
    if ACTIVATIONS.setdefault(activation.name, activation) is not activation:
        raise UserError(f"activation {activation.name!r} is there already; take another name")
    return activation


def activate(phi: Activation, v: Tensor, out: Tensor | None = None) -> Tensor:
    """phi(v) where nobody asks for its gradient, as fast as this machine gives it.

    NumPy's tanh takes a third of the time of PyTorch's, of single precision a fifth; the two agree
    to a rounding or two.

    Args:
        phi: the activation.
        v: potentials, of any shape.
        out: where the activations go, of the same shape; v itself is allowed. By default a new
            tensor.

    Returns:
        The activations; `out` where it is given.
    """
    if phi.function is torch.tanh:
        if (
            v.dtype in (torch.float64, torch.float32)
            and v.device.type == "cpu"
            and not torch.is_grad_enabled()
        ):
            if out is None:
                out = torch.empty_like(v)
            np.tanh(v.detach().numpy(), out=out.numpy())
            return out
        return torch.tanh(v, out=out)
    if phi.function is torch.sigmoid:
        return torch.sigmoid(v, out=out)
    found = phi.function(v)
    return found if out is None else out.copy_(found)
