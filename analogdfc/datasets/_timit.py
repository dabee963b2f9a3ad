"""Stop consonants of TIMIT: frames of speech, from NumPy's files.

The corpus is licensed and comes as sound, so there is no published file of the frames. Whoever has
it makes them (Lillicrap et al. 2016, note 7): 13 Mel-frequency cepstral coefficients of each 10 ms
frame with their first two derivatives, and which of six consonants it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from analogdfc.datasets._base import Dataset, Samples, check_dtype
from analogdfc.datasets._folders import Published, find
from analogdfc.errors import UserError

FEATURES, CONSONANTS = 39, 6
_NAMES = ("train-frames", "train-classes", "test-frames", "test-classes")
TIMIT_STOPS = Published(
    title="TIMIT, stop consonants",
    subfolders=("timit-stops",),
    layouts=(tuple((f"{name}.npy",) for name in _NAMES),),
    where="The corpus is LDC93S1 of the Linguistic Data Consortium; the frames are to be made from "
    f"it: (frames, {FEATURES}) numbers, and (frames,) classes 0 to {CONSONANTS - 1}.",
)


def timit_stops(
    data: str | os.PathLike[str] | None = None, *, dtype: torch.dtype = torch.float64
) -> Dataset:
    """Read frames of stop consonants from four NumPy files.

    `train-frames.npy`, `train-classes.npy`, `test-frames.npy` and `test-classes.npy` lie in `data`,
    in $ANALOGDFC_DATA, or in a folder `timit-stops` inside one of them.

    Args:
        data: a folder to look in first.
        dtype: floating type.

    Returns:
        Inputs (samples, 39) as they are in the files, one-hot labels (samples, 6).

    Raises:
        UserError: a file that is missing, damaged or other than that, or a type not floating.
    """
    check_dtype(dtype)
    frames, classes, test_frames, test_classes = find(TIMIT_STOPS, data)
    learned = _samples(frames, classes, dtype)
    return Dataset(*learned, *_samples(test_frames, test_classes, dtype))


def _samples(frames: Path, classes: Path, dtype: torch.dtype) -> Samples:
    x, y = _array(frames), _array(classes)
    if x.ndim != 2 or x.shape[1] != FEATURES or len(x) == 0 or x.dtype.kind not in "fiu":
        raise UserError(f"{frames}: not (frames, {FEATURES}) numbers, at least one frame")
    if not np.isfinite(x).all():
        raise UserError(f"{frames}: not all numbers are finite")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise UserError(f"{classes}: not {len(x)} whole numbers, one a frame")
    if y.min() < 0 or y.max() >= CONSONANTS:
        raise UserError(f"{classes}: classes are 0 to {CONSONANTS - 1}")
    labels = torch.nn.functional.one_hot(torch.from_numpy(y.astype(np.int64)), CONSONANTS)
    return Samples(torch.from_numpy(x.astype(np.float64)).to(dtype), labels.to(dtype))


def _array(path: Path) -> NDArray[np.generic]:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: no array of NumPy's, or a damaged one: {error}") from error
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path}: several arrays; one is expected")
    return found
