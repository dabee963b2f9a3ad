"""Matrices from files: HDF5, .npy and CSV. What a file says is checked before it is used."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.files import read_whole

MOST = 2**20
"""Numbers of the largest matrix that is read."""

_HDF5 = (".h5", ".hdf5")
_BYTES = 32 * MOST


def read_matrix(source: str, what: str) -> Tensor:
    """A matrix of finite numbers, in double precision.

    Args:
        source: FILE.npy, FILE.csv (numbers with commas between them, one row a line) or
            FILE.h5:DATASET.
        what: what error messages call it.

    Raises:
        UserError: no such file, another kind of file, no matrix, a text, a number that isn't
            finite, or more than `MOST` numbers; the message names the file and the place.
    """
    path, dataset = _split(source)
    suffix = path.suffix.lower()
    if suffix in _HDF5:
        values = _hdf5(path, dataset)
    elif suffix == ".npy":
        values = _npy(path)
    elif suffix == ".csv":
        values = _csv(path)
    else:
        raise UserError(f"{source}: {what} come from a .npy, a .csv or an .h5:DATASET file")
    if values.dtype.kind not in "iuf":
        raise UserError(f"{source}: holds {values.dtype}; {what} are real numbers")
    if values.ndim != 2:
        shape = " x ".join(map(str, values.shape)) or "a single number"
        raise UserError(f"{source}: has the shape {shape}; {what} are a matrix")
    if not 0 < values.size <= MOST:
        rows, columns = values.shape
        raise UserError(f"{source}: {rows} x {columns} numbers; 1 to {MOST} are allowed")
    values = np.array(values, dtype=np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        i, j = (int(k) for k in wrong[0])
        raise UserError(f"{source}: [{i}, {j}] is {values[i, j]}; all numbers must be finite")
    return torch.from_numpy(values)


def path_of(source: str) -> Path:
    """The file of a matrix."""
    return _split(source)[0]


def _split(source: str) -> tuple[Path, str]:
    """File and data set of FILE.h5:DATASET; no data set for another file."""
    for suffix in _HDF5:
        stem, found, dataset = source.partition(f"{suffix}:")
        if found:
            return Path(f"{stem}{suffix}"), dataset.strip("/")
    return Path(source), ""


def _hdf5(path: Path, dataset: str) -> NDArray[Any]:
    if not dataset:
        there = ", ".join(records.matrices(path)[:8]) or "none"
        raise UserError(f"{path}: which data set? write {path}:NAME; it has the matrices {there}")
    return records.read_array(path, dataset, MOST)


def _npy(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"PK"):
            raise UserError(f"{path}: an archive of arrays; a .npy file holds one")
        if start != b"\x93NUMPY":
            raise UserError(f"{path}: not a .npy file of numbers: it doesn't begin like one")
        # Mapped: a header that lies about the size costs no memory. Never a pickle, which runs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # files of Python 2 take longer to read
            values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror or error}") from error
    except Exception as error:  # numpy raises many kinds, all of them about the header
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a .npy file of numbers: {reason}") from error
    return values


def _csv(path: Path) -> NDArray[Any]:
    try:
        text = read_whole(path, _BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file: {error.reason}") from error
    rows: list[list[float]] = []
    reader = csv.reader(text.splitlines())
    try:
        for fields in reader:
            if not fields:
                continue
            where = f"{path}, line {reader.line_num}"
            rows.append(
                [_number(field, f"{where}, field {k}") for k, field in enumerate(fields, 1)]
            )
            if len(rows[-1]) != len(rows[0]):
                raise UserError(
                    f"{where}: {len(rows[-1])} numbers; the first line has {len(rows[0])}"
                )
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise UserError(f"{path}: holds no numbers")
    return np.array(rows, dtype=np.float64)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise UserError(f"{where}: {shown!r} is not a number") from None
