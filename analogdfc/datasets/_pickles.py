"""Reading the one kind of pickle that CIFAR-10 is published in, running nothing from it.

A pickle is a program that may call any function it names. Here it can name four, those by which
NumPy arrays were stored under Python 2, and even these are stand-ins that only keep what they are
given. Every other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import UserError


class _Refused(Exception):
    """A name or a value that no published file has."""


class _Element:
    """Stands in for a NumPy type: that of unsigned bytes, the only one there is."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or state[1:5] != ("|", None, None, None):
            raise _Refused("a type of numbers that is not unsigned bytes")


class _Array:
    """Stands in for an array; `content` is None until the pickle fills it."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: NDArray[np.uint8] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array in an unknown form")
        _, shape, element, column_major, content = state
        if not isinstance(element, _Element) or column_major:
            raise _Refused("an array that is not of unsigned bytes, row after row")
        if isinstance(content, str):
            content = content.encode("latin-1")
        if not isinstance(content, bytes):
            raise _Refused("an array without its numbers")
        if not (
            isinstance(shape, tuple)
            and len(shape) == 2
            and all(type(size) is int and size >= 0 for size in shape)
        ):
            raise _Refused("an array that is not a matrix")
        rows, columns = shape
        if rows * columns != len(content):
            raise _Refused(f"a matrix of {rows} x {columns} with {len(content)} bytes")
        self.content = np.frombuffer(content, np.uint8).reshape(rows, columns)


class _Name:
    """Stands in for a function or class of NumPy; a pickle can call it but not change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("a change to a function")


def _no_call(*arguments: object) -> object:
    raise _Refused("a direct call of numpy.ndarray")


def _element(code: object, *options: object) -> _Element:
    if code != "u1":
        raise _Refused(f"numbers of type {code!r:.40}; expected unsigned bytes, 'u1'")
    return _Element()


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("text in an encoding other than latin1")
    return text.encode("latin-1")


_NDARRAY = _Name(_no_call)


def _reconstruct(kind: object, *options: object) -> _Array:
    if kind is not _NDARRAY:
        raise _Refused("an array of another class than numpy.ndarray")
    return _Array()


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Name(_reconstruct),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Name(_element),
    ("_codecs", "encode"): _Name(_encode),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"the name {module}.{name}") from None


def _check_form(content: bytes) -> None:
    """Walk over the pickle without running it, so that no length or index in it is believed."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (
            not isinstance(argument, int) or argument > len(content)
        ):
            raise _Refused(f"a memory index of {argument}")


def read_matrix_pickle(content: bytes, name: object) -> dict[str, object]:
    """Read a dictionary of lists, texts, numbers and matrices of bytes from a pickle.

    Args:
        content: the pickle, as Python 2 or 3 wrote it.
        name: what it is called in messages.

    Returns:
        The dictionary; texts of Python 2 are read as Latin-1, matrices are arrays.

    Raises:
        UserError: anything else is in it; nothing in it has run.
    """
    try:
        _check_form(content)
        tree = _Reader(io.BytesIO(content), encoding="latin-1").load()
    except _Refused as error:
        raise UserError(
            f"{name}: refused: it has {error}, which no published file has; nothing in it was run"
        ) from error
    except Exception as error:  # a damaged pickle can end in an exception of almost any kind
        raise UserError(f"{name}: not a readable pickle: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{name}: holds no dictionary")
    return {
        str(key): value.content if isinstance(value, _Array) else value
        for key, value in tree.items()
        if isinstance(key, str)
    }
