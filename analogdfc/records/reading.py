"""Records read into memory, whatever program wrote them: what is asked for, and only that."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from analogdfc import __version__
from analogdfc.errors import UserError
from analogdfc.records.tree import FORMAT, MARK, Branch, Quantity, Record, Scalar, missing

__all__ = ["matrices", "read", "read_array"]

_MAX_DEPTH = 32
_DIMS = "DIMENSION_LABELS"  # where HDF5 keeps the labels of dimensions
_TOLD = ("units", "description", _DIMS)
"""What an array may say of itself; other attributes of it are other programs'."""


def read(path: str | os.PathLike[str], *keys: str) -> Record:
    """Read a record into memory, or parts of it.

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
    path = Path(path)
    with _opened(path) as file:
        number = _format(path, file)
        there = {*file, *file.attrs} - {MARK}
        wanted = there if not keys else there.intersection(keys)
        tree = _read_group(path, file, 0, wanted)
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
    path = Path(path)
    with _opened(path) as file:
        node = _found(path, file, key)
        if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype) is None:
            if node.shape is not None and most is not None and node.size > most:
                shape = " x ".join(map(str, node.shape))
                raise UserError(f"{path}: '{key}' has {shape} numbers; 1 to {most} are allowed")
            return _values(path, key, node)
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
    path, found = Path(path), []

    def note(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim == 2 and node.dtype.kind in "iuf":
            found.append(name)

    with _opened(path) as file:
        file.visititems(note)
    return tuple(found)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file; what goes wrong with it is an error for people."""
    try:
        with path.open("rb"):
            pass
        if not h5py.is_hdf5(path):
            raise UserError(f"{path}: not an HDF5 file")
        with h5py.File(path, "r") as file:
            yield file
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a directory; an HDF5 file is needed") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, RuntimeError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: the HDF5 file is damaged: {error}") from error


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
        return _attribute(path, node, last, key)
    return _absent(path, node, key, last)


def _names(node: h5py.Group | h5py.Dataset) -> list[str]:
    return list(node) if isinstance(node, h5py.Group) else []


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
    path: Path, group: h5py.Group, depth: int, wanted: Collection[str] | None = None
) -> Branch:
    """A group with all below it, or the wanted names of it."""
    if depth > _MAX_DEPTH:
        raise UserError(f"{path}: '{group.name}': groups are nested deeper than {_MAX_DEPTH}")
    where = group.name.strip("/")
    branch: Branch = {}
    for name in group.attrs:
        if wanted is None or name in wanted:
            branch[name] = _attribute(path, group, name, f"{where}/{name}".lstrip("/"))
    for name in group:
        if wanted is not None and name not in wanted:
            continue
        node = _child(path, group, name)
        if isinstance(node, h5py.Dataset):
            branch[name] = _read_dataset(path, node)
        elif isinstance(group.get(name, getlink=True), h5py.SoftLink):
            raise UserError(f"{path}: '{name}' is a link to a group; it must be in its place")
        else:
            branch[name] = _read_group(path, node, depth + 1)
    return branch


def _read_dataset(path: Path, dataset: h5py.Dataset) -> Quantity | NDArray[Any] | str:
    key = dataset.name.lstrip("/")
    if dataset.shape is None:
        raise UserError(f"{path}: '{key}' is empty")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        with _as_text(path, key):
            texts = np.asarray(dataset.asstr()[()], dtype=np.str_)
        return texts if texts.ndim else str(texts)
    values = _values(path, key, dataset)
    told = {
        name: _attribute(path, dataset, name, f"{key}@{name}")
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


def _values(path: Path, key: str, dataset: h5py.Dataset) -> NDArray[Any]:
    if dataset.shape is None:
        raise UserError(f"{path}: '{key}' is empty")
    _check_kind(path, key, dataset.dtype)
    try:
        values = np.asarray(dataset[()])
    except MemoryError as error:
        shape = " x ".join(map(str, dataset.shape))
        raise UserError(
            f"{path}: '{key}' has {shape} numbers, which the memory can't hold"
        ) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)  # torch takes no other


def _attribute(
    path: Path, node: h5py.Group | h5py.Dataset, name: str, key: str
) -> NDArray[Any] | Scalar:
    kind = node.attrs.get_id(name).dtype
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


def _check_kind(path: Path, key: str, kind: np.dtype[Any]) -> None:
    if kind.kind not in "biufc":
        raise UserError(f"{path}: '{key}' is of the type {kind}; it must be a text or numbers")
