"""Records read into memory, whatever program wrote them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from analogdfc import __version__
from analogdfc.errors import UserError
from analogdfc.records.tree import FORMAT, MARK, Branch, Quantity, Record, Scalar

__all__ = ["read"]

_MAX_DEPTH = 32
_DIMS = "DIMENSION_LABELS"  # where HDF5 keeps the labels of dimensions


def read(path: str | os.PathLike[str]) -> Record:
    """Read a whole record into memory.

    Args:
        path: an HDF5 file, written by `write` or by another program.

    Returns:
        The record; nothing in it is tied to the file any more.

    Raises:
        UserError: there is no such file, it isn't HDF5, it is damaged, it is in a format that this
            version doesn't know, or it holds something that a record can't (references, compound
            types, nothing but texts and numbers is read).
    """
    path = Path(path)
    try:
        with path.open("rb"):
            pass
        if not h5py.is_hdf5(path):
            raise UserError(f"{path}: not an HDF5 file")
        with h5py.File(path, "r") as file:
            number = _format(path, file)
            tree = _read_group(path, file, 0)
            tree.pop(MARK, None)
            return Record(path, tree, number)
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


def _read_group(path: Path, group: h5py.Group, depth: int) -> Branch:
    if depth > _MAX_DEPTH:
        raise UserError(f"{path}: '{group.name}': groups are nested deeper than {_MAX_DEPTH}")
    branch: Branch = {name: _plain(path, name, value) for name, value in _attributes(path, group)}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{path}: '{name}' is a link to somewhere else; it must be in the file")
        node = group[name]
        if isinstance(node, h5py.Group):
            branch[name] = _read_group(path, node, depth + 1)
        elif isinstance(node, h5py.Dataset):
            branch[name] = _read_dataset(path, node)
        else:
            raise UserError(f"{path}: '{node.name}' is neither a group nor a dataset")
    return branch


def _read_dataset(path: Path, dataset: h5py.Dataset) -> Quantity | NDArray[Any] | str:
    key = dataset.name.lstrip("/")
    if dataset.shape is None:
        raise UserError(f"{path}: '{key}' is empty")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        texts = np.asarray(dataset.asstr()[()], dtype=np.str_)
        return texts if texts.ndim else str(texts)
    _check_kind(path, key, dataset.dtype)
    values = np.asarray(dataset[()])
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # torch takes no other
    attributes = dict(_attributes(path, dataset))
    if "units" not in attributes:
        return values
    units, description = (
        _plain(path, f"{key}@{name}", attributes.get(name, "")) for name in ("units", "description")
    )
    labels = _plain(path, f"{key}@{_DIMS}", attributes.get(_DIMS, ""))
    dims = [str(name) for name in labels] if isinstance(labels, np.ndarray) else []
    return Quantity(values, str(units), str(description), dims if len(dims) == values.ndim else ())


def _attributes(path: Path, node: h5py.Group | h5py.Dataset) -> Iterator[tuple[str, Any]]:
    for name in node.attrs:
        kind = node.attrs.get_id(name).dtype
        if h5py.check_string_dtype(kind) is None:
            _check_kind(path, f"{node.name}@{name}".lstrip("/"), kind)
        yield name, node.attrs[name]


def _plain(path: Path, key: str, value: Any) -> NDArray[Any] | Scalar:
    """An attribute as a plain Python value; an array of them stays an array."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        decoded = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in value.ravel()]
        return np.array(decoded, dtype=np.str_).reshape(value.shape)
    if not isinstance(value, str | bool | int | float | complex | np.ndarray):
        raise UserError(f"{path}: '{key}' must be a text or a number")
    return value


def _check_kind(path: Path, key: str, kind: np.dtype[Any]) -> None:
    if kind.kind not in "biufc":
        raise UserError(f"{path}: '{key}' is of the type {kind}; it must be a text or numbers")
