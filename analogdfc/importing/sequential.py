"""Networks from `torch.nn.Sequential`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from analogdfc.activations import ACTIVATIONS
from analogdfc.errors import UserError
from analogdfc.network import Network

__all__ = ["from_sequential"]

_KINDS: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "linear",
}
_WHY: dict[type[nn.Module], str] = {
    nn.Softmax: "it belongs to the loss; leave it out and take cross-entropy",
    nn.LogSoftmax: "it belongs to the loss; leave it out and take cross-entropy",
    nn.Dropout: "it belongs to the rule, see learning.Dropout; leave it out",
}


def from_sequential(module: nn.Sequential) -> Network:
    """The network that a `torch.nn.Sequential` of linear layers and activations is.

    Weights, biases, their type and device are copied; a layer without biases gets 0. An
    `nn.Flatten` in front is left out, since samples are rows here.

    Args:
        module: `nn.Linear`, each followed by `nn.Tanh`, `nn.ReLU`, `nn.Sigmoid`, `nn.Identity` or
            nothing, which is linear. Others in it, nested ones too, must be of the same.

    Raises:
        UserError: a part that no such network has, with its name; two activations in a row; layers
            that don't fit each other; no layer at all.

    >>> made = from_sequential(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
    >>> made.sizes, [phi.name for phi in made.activations]
    ((4, 3, 2), ['tanh', 'linear'])
    """
    if not isinstance(module, nn.Sequential):
        raise UserError(f"a {type(module).__name__} is no torch.nn.Sequential")
    layers: list[tuple[str, nn.Linear]] = []
    names: list[str | None] = []
    for where, part in _parts(module):
        if isinstance(part, nn.Linear):
            _check_fit(layers, where, part)
            layers.append((where, part))
            names.append(None)
        elif isinstance(part, nn.Flatten) and not layers:
            continue
        else:
            name = _activation(where, part)
            if not layers:
                raise UserError(f"{where}: an activation before the first nn.Linear")
            if names[-1] is not None:
                raise UserError(f"{where}: a second activation of the layer {layers[-1][0]}")
            names[-1] = name
    if not layers:
        raise UserError("a Sequential without an nn.Linear is no network")
    return _network([part for _, part in layers], [name or "linear" for name in names])


def _parts(module: nn.Sequential, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What it consists of, with the names in it."""
    for name, part in module.named_children():
        if isinstance(part, nn.Sequential):
            yield from _parts(part, f"{before}{name}.")
        else:
            yield f"{before}{name} ({type(part).__name__})", part


def _activation(where: str, part: nn.Module) -> str:
    name = _KINDS.get(type(part))
    if name is None:
        kinds: list[type[nn.Module]] = [nn.Linear, *_KINDS]
        known = ", ".join(f"nn.{kind.__name__}" for kind in kinds)
        why = _WHY.get(type(part), f"a network here consists of {known}")
        raise UserError(f"{where}: {why}")
    assert name in ACTIVATIONS
    return name


def _check_fit(layers: list[tuple[str, nn.Linear]], where: str, part: nn.Linear) -> None:
    if not layers:
        return
    before, last = layers[-1]
    if part.in_features != last.out_features:
        raise UserError(
            f"{where}: {part.in_features} inputs; {before} has {last.out_features} outputs"
        )
    for what in ("dtype", "device"):
        mine, other = getattr(part.weight, what), getattr(last.weight, what)
        if mine != other:
            raise UserError(f"{where}: its {what} is {mine}; that of {before} is {other}")


@torch.no_grad()
def _network(layers: list[nn.Linear], names: list[str]) -> Network:
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    first = layers[0].weight
    generator = torch.Generator()  # what is drawn is replaced, and nobody else's numbers are used
    made = Network(
        sizes, names[:-1], names[-1], dtype=first.dtype, device=first.device, generator=generator
    )
    for w, b, layer in zip(made.weights, made.biases, layers, strict=True):
        w.copy_(layer.weight)
        if layer.bias is not None:
            b.copy_(layer.bias)
    return made
