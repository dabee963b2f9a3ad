"""Records read into memory, whatever program wrote them: what is asked for, and only that."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from analogdfc import __version__
from analogdfc.errors import UserError
from analogdfc.records.apart import apart, has_signature, is_sealed
from analogdfc.records.tree import FORMAT, MARK, Branch, Quantity, Record, Scalar, missing

__all__ = ["arrays", "is_ours", "matrices", "read", "read_array"]

_MAX_DEPTH = 32
_MAX_NODES = 2**20
_MOST_PACKED = 1100
"""More times than HDF5's filters make numbers smaller (deflate: 1032)."""
_DIMS = "DIMENSION_LABELS"  # where HDF5 keeps the labels of dimensions
_TOLD = ("units", "description", _DIMS)
"""What an array may say of itself; other attributes of it are other programs'."""


def read(path: str | os.PathLike[str], *keys: str) -> Record:
    """Read a record into memory, or parts of it.

    A file that isn't as `write` left it may be damaged, and is read in a process of its own; so
    it is by the other functions, too.

    Args:
        path: an HDF5 file, written by `write` or by another program.
        keys: names at the top of the tree that are read, with all below, where they are there;
            nothing else is looked at. The whole record without.

    Returns:
        The record; nothing in it is tied to the file any more.

    Raises:
        UserError: there is no such file, it isn't HDF5, it is damaged, it is in a format that this
            version doesn't know, or what is read is something that a record can't hold (references,
            compound types, nothing but texts and numbers is read).
    """
    record: Record = _asked(_read, path, *keys)
    return record


def _read(place: str, *keys: str) -> Record:
    path = Path(place)
    with _opened(path) as file:
        number = _format(path, file)
        there = {*file, *file.attrs} - {MARK}
        wanted = there if not keys else there.intersection(keys)
        tree = _read_group(path, file, _Seen(path.stat().st_size), wanted)
        return Record(path, tree, number, frozenset(there - wanted))


def read_array(path: str | os.PathLike[str], key: str, most: int | None = None) -> NDArray[Any]:
    """The values of one data set; nothing else in the file is looked at.

    Args:
        path: an HDF5 file.
        key: names down the tree, joined by '/'.
        most: the largest number of values that is read; any without.

    Returns:
        Booleans, integers, real or complex numbers, of any shape.

    Raises:
        UserError: as `read`; there is no such data set, or it is larger.
    """
    values: NDArray[Any] = _asked(_read_array, path, key, most)
    return values


def _read_array(place: str, key: str, most: int | None) -> NDArray[Any]:
    path = Path(place)
    with _opened(path) as file:
        node = _found(path, file, key)
        if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype) is None:
            if node.shape is not None and most is not None and node.size > most:
                shape = " x ".join(map(str, node.shape))
                raise UserError(f"{path}: '{key}' has {shape} numbers; 1 to {most} are allowed")
            return _values(path, key, node, _Seen(path.stat().st_size))
        if isinstance(node, np.ndarray) and node.dtype.kind in "biufc":
            return node
        raise UserError(f"{path}: '{key}' must be an array of numbers")


def matrices(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the data sets of a file that are matrices of real numbers; none of them is read.

    Args:
        path: an HDF5 file.

    Raises:
        UserError: as `read`.
    """
    shapes: dict[str, tuple[str, int]] = _asked(_arrays, path)
    return tuple(name for name, (kind, axes) in shapes.items() if kind in "iuf" and axes == 2)


def arrays(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the data sets of a file that are numbers, of any shape; none of them is read.

    Args:
        path: an HDF5 file.

    Raises:
        UserError: as `read`.
    """
    return tuple(_asked(_arrays, path))


def _arrays(place: str) -> dict[str, tuple[str, int]]:
    """Kind of numbers and number of axes of the data sets, by name."""
    path, found = Path(place), {}

    def note(name: str | bytes, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None and node.dtype.kind in "biufc":
            if isinstance(name, bytes):  # what h5py gives where it isn't UTF-8
                raise UserError(f"{path}: the name {name!r} in it is not UTF-8; rename it")
            found[name] = (node.dtype.kind, node.ndim)

    with _opened(path) as file:
        file.visititems(note)
    return found


def is_ours(path: Path) -> bool:
    """Whether an HDF5 file is a record that this program wrote, of whatever format.

    Args:
        path: the file.

    Raises:
        UserError: it can't be read.
    """
    return bool(_asked(_has_mark, path))


def _has_mark(place: str) -> bool:
    with _opened(Path(place)) as file:
        # Before records had a mark, all that a command wrote said which versions made it.
        return MARK in file.attrs or "analogdfc" in getattr(file.get("provenance"), "attrs", ())


def _asked(function: Callable[..., Any], path: str | os.PathLike[str], *arguments: Any) -> Any:
    """What a function finds in a file: called here where that is safe, else in another process."""
    path = Path(path)
    try:
        if not has_signature(path):
            raise UserError(
                f"{path}: not an HDF5 file. Networks of PyTorch, NumPy and Keras (.pt, .npz, "
                ".keras) become one by `analogdfc import`"
            )
        if is_sealed(path):
            return function(str(path), *arguments)
        return apart(function.__name__, path, *arguments)
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a directory; an HDF5 file is needed") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a null character
        raise UserError(f"{path}: cannot be read: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file; what goes wrong with it is an error for people."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"{path}: holds more than the memory: {error}") from error
    except Exception as error:  # h5py raises many kinds, all of them about the file
        raise UserError(f"{path}: the HDF5 file is damaged: {error}") from error


@dataclass
class _Seen:
    """What was read of a file so far.

    Attributes:
        size: of the file, in bytes.
        bytes: that its numbers and texts take in memory.
        nodes: groups and data sets.
        above: addresses of the groups around the one that is read.
    """

    size: int
    bytes: int = 0
    nodes: int = 0
    above: list[int] = field(default_factory=list)

    def node(self, path: Path, name: object) -> None:
        """Count a group or data set; refuses more than any record has."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise UserError(f"{path}: more than {_MAX_NODES} groups and data sets")
        if not isinstance(name, str):
            raise UserError(f"{path}: {name!r}: a name is a text in UTF-8")

    def array(self, path: Path, key: str, shape: tuple[int, ...] | None, size: int) -> None:
        """Count an array before it is read; refuses more than there can be in the file."""
        self.bytes += math.prod(shape or ()) * size
        if self.bytes > _MOST_PACKED * self.size + 2**20:
            raise UserError(
                f"{path}: '{key}' would have {' x '.join(map(str, shape or ()))} values, more than "
                f"{self.size} bytes can hold"
            )


def _format(path: Path, file: h5py.File) -> int:
    """The format that a file says it is in; refuses one that isn't known."""
    number = _plain(path, MARK, file.attrs.get(MARK, 0))
    if not (isinstance(number, int) and 0 <= number <= FORMAT):
        raise UserError(
            f"{path}: is a record in format {number}; analogdfc {__version__} reads formats up to "
            f"{FORMAT}, so a later version wrote it"
        )
    return number


def _found(path: Path, file: h5py.File, key: str) -> Any:
    """What has a name in a file, a node or the value of an attribute."""
    node: h5py.Group | h5py.Dataset = file
    *groups, last = key.split("/")
    for name in groups:
        node = _child(path, node, name) if name in _names(node) else _absent(path, node, key, name)
    if last in _names(node):
        return _child(path, node, last)
    if isinstance(node, h5py.Group) and last in node.attrs:
        return _attribute(path, node, last, key, _Seen(path.stat().st_size))
    return _absent(path, node, key, last)


def _names(node: h5py.Group | h5py.Dataset) -> list[str]:
    return list(map(str, node)) if isinstance(node, h5py.Group) else []


def _absent(path: Path, node: h5py.Group | h5py.Dataset, key: str, name: str) -> NoReturn:
    raise UserError(missing(path, key, name, node.name.strip("/"), _names(node)))


def _child(path: Path, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise UserError(f"{path}: '{name}' is a link to somewhere else; it must be in the file")
    node = group.get(name)
    if node is None and isinstance(link, h5py.SoftLink):
        raise UserError(f"{path}: '{name}' is a link to '{link.path}', which isn't there")
    if not isinstance(node, h5py.Group | h5py.Dataset):
        raise UserError(f"{path}: '{node.name}' is neither a group nor a dataset")
    return node


def _read_group(
    path: Path, group: h5py.Group, seen: _Seen, wanted: Collection[str] | None = None
) -> Branch:
    """A group with all below it, or the wanted names of it."""
    address = h5py.h5o.get_info(group.id).addr
    if len(seen.above) > _MAX_DEPTH or address in seen.above:
        why = "holds itself" if address in seen.above else f"is nested deeper than {_MAX_DEPTH}"
        raise UserError(f"{path}: '{group.name}': the group {why}")
    seen.above.append(address)
    where = group.name.strip("/")
    branch: Branch = {}
    for name in group.attrs:
        seen.node(path, name)
        if wanted is None or name in wanted:
            branch[name] = _attribute(path, group, name, f"{where}/{name}".lstrip("/"), seen)
    for name in group:
        seen.node(path, name)
        if wanted is not None and name not in wanted:
            continue
        node = _child(path, group, name)
        if isinstance(node, h5py.Dataset):
            branch[name] = _read_dataset(path, node, seen)
        elif isinstance(group.get(name, getlink=True), h5py.SoftLink):
            raise UserError(f"{path}: '{name}' is a link to a group; it must be in its place")
        else:
            branch[name] = _read_group(path, node, seen)
    seen.above.pop()
    return branch


def _read_dataset(path: Path, dataset: h5py.Dataset, seen: _Seen) -> Quantity | NDArray[Any] | str:
    key = dataset.name.lstrip("/")
    _check_inside(path, key, dataset, seen)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        with _as_text(path, key):
            texts = np.asarray(dataset.asstr()[()], dtype=np.str_)
        return texts if texts.ndim else str(texts)
    values = _values(path, key, dataset, seen)
    told = {
        name: _attribute(path, dataset, name, f"{key}@{name}", seen)
        for name in _TOLD
        if name in dataset.attrs
    }
    if "units" not in told:
        return values
    labels = told.get(_DIMS, "")
    dims = [str(name) for name in labels] if isinstance(labels, np.ndarray) else []
    return Quantity(
        values,
        str(told["units"]),
        str(told.get("description", "")),
        dims if len(dims) == values.ndim else (),
    )


def _check_inside(path: Path, key: str, dataset: h5py.Dataset, seen: _Seen) -> None:
    """Make sure that the values of a data set are there, in the file."""
    if dataset.shape is None:
        raise UserError(f"{path}: '{key}' is empty")
    if dataset.is_virtual or dataset.external:
        raise UserError(f"{path}: '{key}' has its values in other files; they must be in the file")
    seen.array(path, key, dataset.shape, dataset.dtype.itemsize)


def _values(path: Path, key: str, dataset: h5py.Dataset, seen: _Seen) -> NDArray[Any]:
    _check_inside(path, key, dataset, seen)
    _check_kind(path, key, dataset.dtype)
    values = np.asarray(dataset[()])
    return values.astype(values.dtype.newbyteorder("="), copy=False)  # torch takes no other


def _attribute(
    path: Path, node: h5py.Group | h5py.Dataset, name: str, key: str, seen: _Seen
) -> NDArray[Any] | Scalar:
    attribute = node.attrs.get_id(name)
    kind = attribute.dtype
    seen.array(path, key, attribute.shape, kind.itemsize)
    if h5py.check_string_dtype(kind) is None:
        _check_kind(path, key, kind)
    return _plain(path, key, node.attrs[name])


def _plain(path: Path, key: str, value: Any) -> NDArray[Any] | Scalar:
    """An attribute as a plain Python value; an array of them stays an array."""
    with _as_text(path, key):
        if isinstance(value, bytes):
            return value.decode("utf-8")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str):
            value.encode("utf-8")  # h5py hands on what isn't UTF-8 as lone surrogates
        if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
            decoded = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in value.ravel()]
            return np.array(decoded, dtype=np.str_).reshape(value.shape)
    if not isinstance(value, str | bool | int | float | complex | np.ndarray):
        raise UserError(f"{path}: '{key}' must be a text or a number")
    return value


@contextmanager
def _as_text(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise UserError(f"{path}: '{key}' is a text that isn't UTF-8") from error


_LONGEST = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""Bytes of the longest number of a kind: what torch has."""


def _check_kind(path: Path, key: str, kind: np.dtype[Any]) -> None:
    if kind.kind not in "biufc":
        raise UserError(f"{path}: '{key}' is of the type {kind}; it must be a text or numbers")
    if kind.itemsize > _LONGEST[kind.kind]:
        raise UserError(
            f"{path}: '{key}' has numbers of the type {kind}; none may be longer than "
            f"{8 * _LONGEST[kind.kind]} bits"
        )
