"""What the property-based tests draw: seeds, and small networks of the size of the prototype."""

from __future__ import annotations

import copy
import math
import tomllib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from analogdfc.network import Network


def generator(seed: int) -> torch.Generator:
    """A source of random numbers of its own."""
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers in double precision."""
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def autograd_jacobian(f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """Derivative of a vector by a vector, (n_out, n_in), row by row through autograd."""
    v = v.detach().requires_grad_()
    out = f(v)
    rows = [torch.autograd.grad(out_k, v, retain_graph=True)[0] for out_k in out]
    return torch.stack(rows)


def network_of(
    sizes: Sequence[int],
    seed: int = 0,
    *,
    activation: str = "tanh",
    dtype: torch.dtype = torch.float64,
) -> Network:
    """A network with weights N(0, 1.2^2 / n_in), as the prototype's, and biases N(0, 0.2^2)."""
    network = Network(sizes, activation, dtype=dtype)
    source = generator(seed)
    for w, b in zip(network.weights, network.biases, strict=True):
        spread = 1.2 / w.shape[1] ** 0.5
        for parameter, std in ((w, spread), (b, 0.2)):
            values = torch.randn(parameter.shape, dtype=torch.float64, generator=source)
            parameter.data.copy_(std * values)
    return network


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random generators."""
    return st.integers(0, 2**31 - 1)


def layer_sizes(most: int = 6) -> st.SearchStrategy[list[int]]:
    """Layer sizes of networks with one to three layers."""
    return st.lists(st.integers(1, most), min_size=2, max_size=4)


@st.composite
def small_networks(
    draw: st.DrawFn, activations: Sequence[str] = ("tanh",), most: int = 6
) -> Network:
    """Networks of one to three layers, of at most `most` neurons each."""
    activation = draw(st.sampled_from(list(activations)))
    return network_of(draw(layer_sizes(most)), draw(seeds()), activation=activation)


# What fuzzing draws.

_ODD_CHARACTERS = "\0\x1b\x7f\x85\u202e\u2028\ufeff\N{GREEK SMALL LETTER MU}\N{SNOWMAN}\t\r\n"
_WORDS = (
    *("V", "mV", "S", "uS", "s", "Hz", "ohm", "%", "dBm", "degC", "delta_degC", "count", "V/s"),
    *("**", "*", "/", "^", "-", "+", " ", "(", ")", "[", "]", "{", "}", "'", ";", "\n", "_"),
    *("9", "1", "0", "1e400", "-1", "nan", "inf", "None", "lambda", "__import__", "µ", "Ω", ""),
)


@cache
def odd_texts() -> st.SearchStrategy[str]:
    """Short texts, with characters that a terminal or a netlist doesn't take."""
    odd = st.text(st.one_of(st.sampled_from(_ODD_CHARACTERS), st.characters()), max_size=12)
    return st.one_of(odd, st.sampled_from(["", " ", "a" * 5000, "../../etc/passwd", "$(id)"]))


@cache
def odd_units() -> st.SearchStrategy[str]:
    """Texts that stand for a unit, few of which are one."""
    return st.lists(st.sampled_from(_WORDS), min_size=0, max_size=7).map("".join)


@cache
def odd_numbers() -> st.SearchStrategy[int | float]:
    """Numbers at and beyond the ends of what can be a number."""
    edges = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 5e-324, 1.8e308, -0.0)
    return st.one_of(st.floats(), st.integers(), st.sampled_from(edges))


@cache
def odd_quantities() -> st.SearchStrategy[str]:
    """Numbers with a unit as a person types them, most of them wrong."""
    number = st.one_of(odd_numbers().map(str), odd_texts(), odd_units())
    return st.tuples(number, st.sampled_from(["", " "]), odd_units()).map("".join)


@cache
def odd_values() -> st.SearchStrategy[object]:
    """Values of any kind that a TOML file has."""
    leaves = st.one_of(
        odd_numbers(), odd_texts(), odd_units(), st.booleans(), st.dates(), st.times()
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(odd_texts(), inner, max_size=3)
        ),
        max_leaves=6,
    )


def _places(tree: object, where: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of everything in nested tables and lists."""
    here = [where] if where else []
    if isinstance(tree, dict):
        return here + [p for k, v in tree.items() for p in _places(v, (*where, k))]
    if isinstance(tree, list):
        return here + [p for k, v in enumerate(tree) for p in _places(v, (*where, k))]
    return here


_EDITS = st.sampled_from(["value", "value", "unit", "leave out", "rename", "add"])
_CUTS = st.sampled_from(["put in", "take out", "repeat", "cut", "nest"])
_PIECES = st.one_of(odd_texts(), odd_units())
_OPENINGS = st.sampled_from(["[", "{a=", "(", '"', "a.", "9"])
_DEPTHS = st.sampled_from([1, 100, 6000])


@st.composite
def odd_trees(draw: st.DrawFn, trees: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One of some nested tables, with entries changed, renamed, added and left out."""
    tree: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(list(trees))))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(tree)
        if not places:
            break
        *path, last = places[draw(st.integers(0, len(places) - 1))]
        inside: Any = tree
        for key in path:
            inside = inside[key]
        what = draw(_EDITS)
        if what == "leave out":
            del inside[last]
        elif what == "rename" and isinstance(inside, dict):
            inside[draw(odd_texts())] = inside.pop(last)
        elif what == "add" and isinstance(inside, dict):
            inside[draw(odd_texts())] = draw(odd_values())
        elif what == "unit" and isinstance(inside[last], dict) and "unit" in inside[last]:
            inside[last]["unit"] = draw(odd_units())
        elif isinstance(inside[last], dict) and "value" in inside[last]:
            inside[last]["value"] = draw(odd_values())
        else:
            inside[last] = draw(odd_values())
    return tree


def toml(value: object) -> str:
    """A value as TOML has it, tables in one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items())
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
        return '"' + "".join(escaped) + '"'
    return str(value)


def toml_file(tree: dict[str, Any]) -> str:
    """Tables as a TOML file."""
    return "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tree.items())


@st.composite
def cut_texts(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """One of some texts, with pieces put in, taken out, repeated, or its end cut off."""
    text = draw(st.sampled_from(list(texts)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        what = draw(_CUTS)
        stop = min(len(text), start + draw(st.integers(1, 40)))
        if what == "put in":
            text = text[:start] + draw(_PIECES) + text[start:]
        elif what == "take out":
            text = text[:start] + text[stop:]
        elif what == "repeat":
            text = text[:start] + text[start:stop] * draw(st.integers(2, 50)) + text[stop:]
        elif what == "nest":
            text = text[:start] + draw(_OPENINGS) * draw(_DEPTHS) + text[start:]
        else:
            text = text[:start]
    return text


def card_texts(texts: Sequence[str]) -> st.SearchStrategy[str]:
    """Card files, most of which are wrong somewhere."""
    trees = [tomllib.loads(text) for text in texts]
    return st.one_of(odd_trees(trees).map(toml_file), cut_texts(texts))


@st.composite
def changed_bytes(draw: st.DrawFn, files: Sequence[bytes]) -> bytes:
    """One of some files, with bytes changed, numbers put in, pieces moved, or its end cut off."""
    content = bytearray(draw(st.sampled_from(list(files))))
    filled = [k for k, byte in enumerate(content) if byte]
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        what = draw(_DAMAGES)
        at = draw(st.integers(0, len(content) - 1))
        somewhere = draw(_OFTEN)
        if filled and somewhere:  # where there is something
            at = min(filled[at % len(filled)], len(content) - 1)
        if what == "byte":
            content[at] = draw(st.integers(0, 255))
        elif what == "bit":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "number":
            number = draw(_SIZES).to_bytes(8, "little")[: draw(st.sampled_from([4, 8]))]
            content[at : at + len(number)] = number
        elif what == "move":
            start = draw(st.integers(0, len(content) - 1))
            content[at : at + 16] = content[start : start + 16]
        elif what == "take out":
            del content[at : at + draw(st.integers(1, 64))]
        else:
            del content[at:]
    return bytes(content)


_OFTEN = st.integers(0, 1)
_DAMAGES = st.sampled_from(["byte", "bit", "bit", "number", "number", "move", "take out", "cut"])
_SIZES = st.sampled_from([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])


class Edit(NamedTuple):
    """A change of an HDF5 file.

    Attributes:
        place: which of the things in it, counted round.
        what: what is done with it.
        value: an array, text or number; not for all of them.
    """

    place: int
    what: str
    value: object


_HDF5_EDITS = (
    *("value",) * 5, *("numbers",) * 3, "leave out", "attribute", "add", "empty", "ragged", "pairs",
    "reference", "soft link", "outside link", "ring", "group", "large", "text", "bytes",
)  # fmt: skip
_TYPES = ("f8", ">f4", "f2", "i1", "u8", "?", "c16", "S3", "i8", ">i2", "f16")


@st.composite
def _arrays(draw: st.DrawFn) -> object:
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    kind = np.dtype(draw(st.sampled_from(_TYPES)))
    fill = draw(st.sampled_from([0, 1, -1, 3, 0.5, math.nan, math.inf, 1e300]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.full(shape, fill).astype(kind)


def edits() -> st.SearchStrategy[list[Edit]]:
    """A few changes of an HDF5 file."""
    number = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.0, 1, -1]))
    value = st.one_of(number, number, _arrays(), odd_texts())
    one = st.builds(Edit, st.integers(0, 10**6), st.sampled_from(_HDF5_EDITS), value)
    return st.lists(one, min_size=1, max_size=3)
