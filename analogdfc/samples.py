"""What samples must be to fit a network: asked in one place, before anything broadcasts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor

from analogdfc.errors import UserError

__all__ = ["check_samples", "fitting"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def check_samples(
    sizes: Sequence[int], x: Tensor, y: Tensor | None = None, *, what: str = "labels"
) -> None:
    """Make sure that inputs, and what belongs to them at the output, fit a network's layers.

    Labels of another shape would broadcast to one where they can, and give other numbers.

    Args:
        sizes: neurons of layers 0 (the input) to L.
        x: inputs, (batch, n_0), with batch >= 1.
        y: what belongs to them, (batch, n_L); None where there is nothing.
        what: what y is, for the message, in the plural.

    Raises:
        UserError: another shape, or no samples.
    """
    n_in, n_out = sizes[0], sizes[-1]
    fits = x.dim() == 2 and x.shape[1] == n_in
    if fits and (y is None or y.shape == (len(x), n_out)):
        if len(x) == 0:
            raise UserError("no samples: a batch needs at least one")
        return
    found, needed = f"inputs {tuple(x.shape)}", f"(batch, {n_in})"
    if y is not None:
        found, needed = f"{found} and {what} {tuple(y.shape)}", f"{needed} and (batch, {n_out})"
    message = f"{found} do not fit the layers {'-'.join(map(str, sizes))}: expected {needed}"
    if fits and y is not None and y.shape == (len(x),):
        way = f"torch.nn.functional.one_hot(y, {n_out})" if n_out > 1 else "y.unsqueeze(1)"
        message += f"; of one number a sample, {way} makes them"
    raise UserError(message)


def _check_precision(x: Tensor, weights: Tensor) -> None:
    """Raise an error where inputs are in another precision than the weights."""
    if x.is_floating_point() and x.dtype != weights.dtype:
        raise UserError(
            f"inputs in {x.dtype}, weights in {weights.dtype}: convert the inputs with "
            f"x.to({weights.dtype}), or make the network with dtype={x.dtype}"
        )


def fitting(method: _Method) -> _Method:
    """A method of something that has a `network`, its samples checked before it begins.

    Args:
        method: takes inputs, (batch, n_0), and perhaps labels, (batch, n_L).
    """
    names = [*inspect.signature(method).parameters][1:3]

    @wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        if names[0] in given:
            check_samples(self.network.sizes, *(given[name] for name in names if name in given))
            _check_precision(given[names[0]], self.network.weights[0])
        return method(self, *args, **kwargs)

    return cast(_Method, checked)
