"""CIFAR-10, as a folder of batches or as the archive of it."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from analogdfc.datasets._base import CLASSES, Dataset, Images, check_images, split
from analogdfc.datasets._folders import Published, find
from analogdfc.datasets._pickles import read_matrix_pickle
from analogdfc.errors import UserError

PIXELS = 3 * 32 * 32
LARGEST = 2**26
"""The largest batch that is read, in bytes; the published ones have 31 MB."""
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
CIFAR10 = Published(
    title="CIFAR-10",
    subfolders=(FOLDER, "cifar-10", f"cifar-10/{FOLDER}"),
    layouts=(tuple((name,) for name in BATCHES), ((ARCHIVE,),)),
    where="The set's home page is https://www.cs.toronto.edu/~kriz/cifar.html (CIFAR-10 python "
    "version).",
)


def cifar10(
    data: str | os.PathLike[str] | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Read CIFAR-10, colour images of 32 x 32 pixels, from its Python batches.

    The folder `cifar-10-batches-py` or the archive `cifar-10-python.tar.gz` lies in `data` or in
    $ANALOGDFC_DATA. The batches are pickles; no code in them is run. Nothing is downloaded.

    Args:
        data: a folder to look in first, or the archive itself.
        validation: training images set aside.
        seed: seed of the draw of these.
        dtype: floating type.

    Returns:
        Inputs (samples, 3072) between 0 and 1, the 1024 red pixels row by row, then the green and
        the blue ones; one-hot labels (samples, 10).

    Raises:
        UserError: a file that is missing, damaged or not as published, or an argument out of range.
    """
    given = None if data is None else Path(data).expanduser()
    files = [given] if given is not None and given.is_file() else find(CIFAR10, given)
    batches = _from_archive(files[0]) if len(files) == 1 else [_batch(_read(f), f) for f in files]
    *parts, test = batches
    train = Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    return split(train, test, validation=validation, seed=seed, dtype=dtype, title=CIFAR10.title)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path}: more than {LARGEST} bytes; a published batch has 31 MB")
    return content


def _from_archive(path: Path) -> list[Images]:
    found: dict[str, Images] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                inside = PurePosixPath(member.name)
                if inside.parent.name != FOLDER or inside.name not in BATCHES:
                    continue
                where = f"{path}: {member.name}"
                content = archive.extractfile(member) if member.isfile() else None
                if content is None or member.size > LARGEST:
                    raise UserError(f"{where}: not a plain file of at most {LARGEST} bytes")
                found[inside.name] = _batch(content.read(), where)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the archive is damaged or cut short: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if missing := [name for name in BATCHES if name not in found]:
        raise UserError(f"{path}: {FOLDER}/ in it lacks {', '.join(missing)}")
    return [found[name] for name in BATCHES]


def _batch(content: bytes, name: object) -> Images:
    tree = read_matrix_pickle(content, name)
    pixels, labels = tree.get("data"), tree.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (PIXELS,):
        raise UserError(f"{name}: 'data' is not a matrix with {PIXELS} columns of bytes")
    if not isinstance(labels, list) or not all(
        type(label) is int and 0 <= label < CLASSES for label in labels
    ):
        raise UserError(f"{name}: 'labels' is not a list of numbers 0 to {CLASSES - 1}")
    images = Images(pixels, np.array(labels, np.uint8))
    check_images(images, name, name)
    return images
