"""Which arrays make a layer: by their names, as PyTorch and Keras give them, and their shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

Orientation = Literal["out-in", "in-out"]
"""Which axis of a matrix comes first: that of the outputs (PyTorch) or the inputs (Keras)."""

_LEAF = re.compile(r"(?:(.*)[./])?([^./]+)")
_NUMBERED = re.compile(r"(W|weights?|b|bias(?:es)?)[_.]?([0-9]+)", re.IGNORECASE)
_WEIGHTS: dict[str, Orientation] = {"weight": "out-in", "kernel": "in-out"}
_PASSED = ("optimizer", "optimizer_weights", "seed_generator")
"""Parts of a file of Keras that are of the training, not of the network."""


class Layer(NamedTuple):
    """A layer r_i = phi(W_i r_{i-1} + b_i).

    Attributes:
        name: in the file.
        weight: as the file has it, (n_i, n_{i-1}) or the other way round.
        bias: (n_i,), or None.
        orientation: of the weight by its name; None where the name doesn't tell.
    """

    name: str
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    orientation: Orientation | None


class Other(NamedTuple):
    """Arrays that are no such layer.

    Attributes:
        name: in the file.
        what: they are, for people.
    """

    name: str
    what: str


def parts_of(
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, Layer | Other], tuple[str, ...]]:
    """Layers and what is none, in the order of the arrays, and names of what is of a training.

    Args:
        arrays: by name.
    """
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    passed: dict[str, None] = {}
    for name, values in arrays.items():
        if any(step in _PASSED for step in name.split("/")):
            passed[name.partition("/vars")[0]] = None
            continue
        owner, role = _place(name)
        groups.setdefault(owner, {})[role] = values
    short = _short(list(groups))
    found = {short[owner]: _part(short[owner], roles) for owner, roles in groups.items()}
    return found, tuple(passed)


def _place(name: str) -> tuple[str, str]:
    """Which layer an array belongs to, and as what."""
    numbered = _NUMBERED.fullmatch(name)
    if numbered is not None:
        return f"W{numbered[2]}", "matrix" if numbered[1][0].lower() == "w" else "bias"
    match = _LEAF.fullmatch(re.sub(r":0$", "", name))
    if match is None or match[1] is None:  # as in the state of a single torch.nn.Linear
        return ("layer", name) if name in (*_WEIGHTS, "bias") else (name, "matrix")
    owner, leaf = match[1], match[2]
    if owner.endswith("/vars"):
        return owner.removesuffix("/vars"), {"0": "kernel", "1": "bias"}.get(leaf, leaf)
    return owner, leaf


def _short(owners: list[str]) -> dict[str, str]:
    """Names as Keras shows them, 'dense' for 'model_weights/dense/dense', where they differ."""
    last = {owner: owner.rpartition("/")[2] for owner in owners}
    return last if len(set(last.values())) == len(owners) else {owner: owner for owner in owners}


def _part(name: str, roles: Mapping[str, NDArray[Any]]) -> Layer | Other:
    """The layer that arrays make, or what else they are."""
    shapes = ", ".join(
        f"{role} {' x '.join(map(str, values.shape)) or 'a number'}"
        for role, values in roles.items()
    )
    kind = next((role for role in ("weight", "kernel", "matrix") if role in roles), "")
    if not kind or set(roles) - {kind, "bias"}:
        norm = {"running_mean", "moving_mean"} & set(roles)
        looks = "a batch norm" if norm else "no weight and bias alone"
        return Other(name, f"{looks}: {shapes}")
    weight, bias = roles[kind], roles.get("bias")
    if weight.ndim != 2:
        looks = "a convolution" if weight.ndim > 2 else "a norm" if bias is not None else "no layer"
        return Other(name, f"{looks}: {shapes}")
    if bias is not None and (bias.ndim != 1 or len(bias) not in weight.shape):
        return Other(name, f"a bias of another size: {shapes}")
    return Layer(name, weight, bias, _WEIGHTS.get(kind))
