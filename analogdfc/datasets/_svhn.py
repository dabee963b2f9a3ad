"""SVHN: house numbers from photographs, in MATLAB's files as they are published."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from analogdfc.datasets._base import CLASSES, Dataset, Images, check_images, split
from analogdfc.datasets._folders import Published, find
from analogdfc.errors import UserError
from analogdfc.memory import check_memory

SIDE, COLOURS = 32, 3
_TRAIN, _EXTRA, _TEST = (((f"{part}_32x32.mat"),) for part in ("train", "extra", "test"))
SVHN = Published(
    title="SVHN",
    subfolders=("svhn", "SVHN"),
    layouts=((_TRAIN, _EXTRA, _TEST), (_TRAIN, _TEST)),
    where="The set's home page is http://ufldl.stanford.edu/housenumbers/ (format 2, cropped "
    "digits).",
)
# What SciPy's reader raises on files that are none of MATLAB's, or damaged.
_DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,  # of a MATLAB whose files are HDF5
    OverflowError,
    EOFError,
    OSError,
    zlib.error,
    struct.error,
)


def svhn(
    data: str | os.PathLike[str] | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Read SVHN, house numbers of 32 x 32 pixels, in grey: the mean of the three colours.

    The files `train_32x32.mat`, `test_32x32.mat` and, where it is there, `extra_32x32.mat`, which
    is learned from too, lie in `data`, in $ANALOGDFC_DATA, or in a folder `svhn` inside one of
    them. Nothing is downloaded.

    Args:
        data: a folder to look in first.
        validation: training images set aside.
        seed: seed of the draw of these.
        dtype: floating type.

    Returns:
        Inputs (samples, 1024) between 0 and 1, one-hot labels (samples, 10).

    Raises:
        UserError: a file that is missing, damaged or not as published, or an argument out of range.
    """
    *learned, test = (_images(path) for path in find(SVHN, data))
    train = Images(*(np.concatenate(arrays) for arrays in zip(*learned, strict=True)))
    return split(train, test, validation=validation, seed=seed, dtype=dtype, title=SVHN.title)


def _images(path: Path) -> Images:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        count = int(np.prod(shapes.get("X", ()), dtype=float))
        check_memory(count, f"{path}: {count:.3g} pixels")
        found = loadmat(path, variable_names=["X", "y"])
    except (*_DAMAGED, MatReadError) as error:
        raise UserError(f"{path}: no file of MATLAB's, or a damaged one: {error}") from error
    pixels, labels = found.get("X"), found.get("y")
    wanted = (SIDE, SIDE, COLOURS)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[:3] != wanted:
        raise UserError(f"{path}: 'X' is not {SIDE} x {SIDE} x {COLOURS} x images, of bytes")
    digits = None if labels is None else np.ravel(labels)
    if digits is None or digits.dtype.kind not in "ui" or not _within(digits):
        raise UserError(f"{path}: 'y' is not a column of numbers 1 to {CLASSES}")
    pixels = pixels.reshape(*wanted, -1)  # of a single image the last dimension is left out
    grey = np.rint(pixels.mean(axis=2, dtype=np.float32)).astype(np.uint8)
    # The class 10 is the digit 0.
    images = Images(grey.reshape(SIDE * SIDE, -1).T.copy(), (digits % CLASSES).astype(np.uint8))
    check_images(images, path, path)
    return images


def _within(digits: np.ndarray) -> bool:
    return bool(((digits >= 1) & (digits <= CLASSES)).all())
