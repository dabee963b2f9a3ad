"""Arrays by their names, from files of other programs. Nothing in a file is ever run."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.records.apart import has_signature
from analogdfc.scratch import Scratch

_KERAS = "model.weights.h5"
"""Where the weights are in a .keras file, which is an archive."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, UnicodeDecodeError, RuntimeError)
"""What an archive raises whose bytes were changed, or that is encrypted."""
_NEEDED = "not a file of PyTorch, NumPy (.npz), Keras or HDF5"


class Arrays(NamedTuple):
    """What a file holds.

    Attributes:
        found: arrays of any shape by name, as the file has them.
        ordered: whether their order is that in which they were made.
        passed: names of what is no array, such as the number of an epoch.
    """

    found: dict[str, NDArray[Any]]
    ordered: bool
    passed: tuple[str, ...] = ()


def arrays_of(path: Path) -> Arrays:
    """All arrays in a file.

    Args:
        path: an HDF5 file; or an archive of PyTorch, of NumPy (.npz) or of Keras (.keras).

    Raises:
        UserError: it can't be read, is of another kind, or would need code to be run.
    """
    try:
        if has_signature(path):
            return _hdf5(path)
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                if file.read(1) != pickle.PROTO:
                    raise UserError(f"{path}: {_NEEDED}")
            return _torch(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _KERAS in names:
                return _keras(path, archive)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, *_DAMAGED) as error:
        raise UserError(f"{path}: the archive is damaged: {error}") from error
    return _npz(path) if any(n.endswith(".npy") for n in names) else _torch(path)


def _hdf5(path: Path) -> Arrays:
    return Arrays({n: records.read_array(path, n) for n in records.arrays(path)}, ordered=False)


def _keras(path: Path, archive: zipfile.ZipFile) -> Arrays:
    with Scratch() as folder:
        place = Path(archive.extract(_KERAS, folder))
        try:
            return _hdf5(place)
        except UserError as error:
            raise UserError(str(error).replace(str(place), f"{path}, {_KERAS}")) from error


def _npz(path: Path) -> Arrays:
    found: dict[str, NDArray[Any]] = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                found[name] = np.asarray(archive[name])
    except (ValueError, OSError, EOFError, KeyError, MemoryError, *_DAMAGED) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: '{name}' is no array of numbers: {reason}") from error
    return Arrays(found, ordered=True)


def _torch(path: Path) -> Arrays:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is no file of weights alone: what it holds would run code when it is read. "
            "Save the module's state_dict(), not the module"
        ) from error
    except Exception as error:  # torch raises many kinds, all of them about the file
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: {_NEEDED}: {reason}") from error
    found: dict[str, NDArray[Any]] = {}
    passed: list[str] = []
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}; a state_dict is needed")
    _flatten(path, content, "", found, passed)
    # A checkpoint has the weights as one of its parts, whose name says nothing about them.
    parts = {name.partition("\0")[0] for name in found}
    if len(parts) == 1 and all("\0" in name for name in found):
        found = {name.partition("\0")[2]: values for name, values in found.items()}
    return Arrays({n.replace("\0", "."): v for n, v in found.items()}, True, tuple(passed))


def _flatten(
    path: Path,
    content: Mapping[Any, Any],
    where: str,
    found: dict[str, NDArray[Any]],
    passed: list[str],
) -> None:
    """Tensors of nested mappings; a null character stands between the names of two levels."""
    for key, value in content.items():
        name = f"{where}{key}"
        if isinstance(value, torch.Tensor):
            found[name] = _values(path, name, value)
        elif isinstance(value, Mapping) and isinstance(key, str) and not _is_optimizer(value):
            _flatten(path, value, f"{name}\0", found, passed)
        else:
            passed.append(name.replace("\0", "."))


def _is_optimizer(value: Mapping[Any, Any]) -> bool:
    return {"state", "param_groups"} <= set(value)


def _values(path: Path, name: str, tensor: torch.Tensor) -> NDArray[Any]:
    shown = name.replace("\0", ".")
    with suppress(Exception):  # torch has many kinds of tensors that have no such numbers
        plain = tensor.detach().to("cpu")
        if plain.is_floating_point():
            plain = plain.to(torch.float64)
        return plain.resolve_conj().resolve_neg().numpy()
    raise UserError(f"{path}: '{shown}' has no plain numbers: {tensor.dtype}, {tensor.layout}")
