"""A network of the layers that are chosen, each turned the way in which it is used here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from analogdfc.errors import UserError
from analogdfc.importing.layers import Layer, Orientation, Other, parts_of
from analogdfc.importing.sources import arrays_of
from analogdfc.network import Network


class Imported(NamedTuple):
    """A network and how it was read.

    Attributes:
        network: the network.
        layers: those of the file that it is made of, first to last.
        orientations: how the file has their weights, 'out-in' as they are used here.
        left_out: what the file has beside them.
    """

    network: Network
    layers: tuple[Layer, ...]
    orientations: tuple[Orientation, ...]
    left_out: tuple[str, ...]


def import_network(
    path: str | Path,
    activation: str | Sequence[str] | None = None,
    output_activation: str = "linear",
    *,
    layer: Sequence[str] = (),
    skip: Sequence[str] = (),
    orientation: Orientation | None = None,
) -> Imported:
    """The network in a file of another program; nothing in the file is run.

    A file of weights doesn't tell the activations. In PyTorch a weight is (outputs, inputs), in
    Keras, where it is called kernel, (inputs, outputs); a bias whose size contradicts that is an
    error. Convolutions, norms and all that is no weight with its bias must be skipped by name.

    Args:
        path: a state_dict of PyTorch (.pt, .pth), an archive of NumPy (.npz), a file of Keras
            (.h5, .weights.h5, .keras), or HDF5 with such names.
        activation: of the hidden layers: one name for all, or one a layer; needed where there are
            any.
        output_activation: of the last layer.
        layer: names of the layers, first to last; all that are in the file without.
        skip: names of what is left out though it may take part in the network.
        orientation: of all weights, 'out-in' or 'in-out'; by their names without.

    Raises:
        UserError: a file that can't be read or would run code, a name that isn't there, parts that
            are no layers, layers that don't follow each other, an unknown order or orientation,
            numbers that aren't real and finite, or what `Network` refuses.
    """
    path = Path(path)
    if orientation is not None and orientation not in get_args(Orientation):
        raise UserError(f"`orientation` = {orientation!r}: allowed are out-in and in-out")
    found = arrays_of(path)
    parts, training = parts_of(found.found)
    for name in (*layer, *skip):
        _check_there(path, name, parts)
    _check_mapped(path, parts, skip)
    chosen = _chosen(path, parts, layer, skip, found.ordered)
    turned = _turned(path, chosen, orientation)
    matrices = [_oriented(part, way) for part, way in zip(chosen, turned, strict=True)]
    for one, other, a, b in zip(chosen, chosen[1:], matrices, matrices[1:], strict=False):
        if len(a) != b.shape[1]:
            raise UserError(
                f"{path}: '{one.name}' has {len(a)} outputs and '{other.name}' {b.shape[1]} "
                "inputs; name them in their order by `layer`, or give their `orientation`"
            )
    if activation is None and len(chosen) > 1:
        raise UserError(
            f"`activation`: {path} doesn't tell those of its {len(chosen) - 1} hidden layers; give "
            "one name for all, or one a layer"
        )
    sizes = [matrices[0].shape[1], *map(len, matrices)]
    network = Network(sizes, activation or "tanh", output_activation)
    with torch.no_grad():
        for part, w, weight, bias in zip(
            chosen, matrices, network.weights, network.biases, strict=True
        ):
            weight.copy_(torch.tensor(_numbers(path, part.name, w)))
            if part.bias is not None:
                bias.copy_(torch.tensor(_numbers(path, part.name, part.bias)))
    taken = {part.name for part in chosen}
    rest = [n for n in parts if n not in taken]
    return Imported(network, chosen, turned, (*rest, *training, *found.passed))


def _check_there(path: Path, name: str, parts: dict[str, Layer | Other]) -> None:
    if name not in parts:
        near = difflib.get_close_matches(name, parts, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is: {', '.join(parts) or 'none'}"
        raise UserError(f"{path}: no layer '{name}'; {hint}")


def _check_mapped(path: Path, parts: dict[str, Layer | Other], skipped: Sequence[str]) -> None:
    unknown = [p for p in parts.values() if isinstance(p, Other) and p.name not in skipped]
    if unknown:
        listed = "; ".join(f"'{part.name}' is {part.what}" for part in unknown[:8])
        more = f"; and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise UserError(
            f"{path}: has parts that this network can't have: {listed}{more}. It would not compute "
            "the same without them; name them by `skip` to leave them out nevertheless"
        )


def _chosen(
    path: Path,
    parts: dict[str, Layer | Other],
    names: Sequence[str],
    skipped: Sequence[str],
    ordered: bool,
) -> tuple[Layer, ...]:
    """The layers in their order."""
    if not names:
        names = [n for n, p in parts.items() if isinstance(p, Layer) and n not in skipped]
        if not ordered:
            names = _in_order(path, names)
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a layer is named twice among {', '.join(names)}")
    chosen = [part for name in names if isinstance(part := parts[name], Layer)]
    if not chosen or len(chosen) < len(names) or set(names) & set(skipped):
        there = ", ".join(n for n, p in parts.items() if isinstance(p, Layer)) or "none"
        raise UserError(f"{path}: name by `layer` those that aren't skipped; there is: {there}")
    return tuple(chosen)


def _in_order(path: Path, names: Sequence[str]) -> list[str]:
    """Names that only a number tells apart, by that number, as 'dense', 'dense_1', 'dense_2'."""
    split = [re.fullmatch(r"(.*?)[_.]?([0-9]*)", name) for name in names]
    stems = {match[1] for match in split if match is not None}
    if len(names) > 1 and len(stems) > 1:
        raise UserError(
            f"{path}: the file doesn't tell the order of its layers {', '.join(names)}; name them "
            "by `layer`, first to last"
        )
    numbers = {n: int(m[2] or 0) for n, m in zip(names, split, strict=True) if m is not None}
    return sorted(names, key=numbers.__getitem__)


def _turned(
    path: Path, layers: Sequence[Layer], given: Orientation | None
) -> tuple[Orientation, ...]:
    """How each weight lies: as was said, as its name says, or as its bias says."""
    out: list[Orientation | None] = []
    for layer in layers:
        rows, columns = layer.weight.shape
        way = given or layer.orientation
        if layer.bias is not None and rows != columns:
            by_bias: Orientation = "out-in" if len(layer.bias) == rows else "in-out"
            if way is not None and way != by_bias:
                raise UserError(
                    f"{path}: '{layer.name}': a weight of {rows} x {columns} that is {way} has "
                    f"no bias of {len(layer.bias)}; its `orientation` may be {by_bias}"
                )
            way = by_bias
        out.append(way)
    known = {way for way in out if way is not None}
    if not known or (None in out and len(known) > 1):
        unclear = ", ".join(f"'{x.name}'" for x, way in zip(layers, out, strict=True) if not way)
        raise UserError(
            f"{path}: neither names nor biases tell which axis of {unclear} is that of the outputs;"
            " give the `orientation`, out-in (as in PyTorch) or in-out (as in Keras)"
        )
    only = next(iter(known))
    return tuple(way or only for way in out)


def _oriented(layer: Layer, way: Orientation) -> NDArray[Any]:
    return layer.weight if way == "out-in" else layer.weight.T


def _numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "iuf":
        raise UserError(f"{path}: '{name}' holds {values.dtype}; weights are real numbers")
    numbers = np.array(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: '{name}' holds numbers that aren't finite")
    return numbers
