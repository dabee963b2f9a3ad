"""What a data set is, and how labelled images become one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import UserError

CLASSES = 10


class Samples(NamedTuple):
    """Inputs and their labels.

    Attributes:
        x: inputs, (samples, n_0).
        y: labels, (samples, n_L).
    """

    x: Tensor
    y: Tensor


class Dataset(NamedTuple):
    """Samples to learn from and samples held out.

    Attributes:
        x: inputs, (samples, n_0).
        y: labels, (samples, n_L).
        x_test: held-out inputs, (samples, n_0).
        y_test: their labels, (samples, n_L).
        validation: samples by which settings are chosen, neither learned nor tested; None if none
            were set aside.
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    validation: Samples | None = None


class Images(NamedTuple):
    """Images as they are published.

    Attributes:
        pixels: (images, n_0), 0 to 255.
        labels: (images,), 0 to 9.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def take(self, index: NDArray[np.intp]) -> Images:
        """Return the images with these numbers."""
        return Images(self.pixels[index], self.labels[index])


class Scaling(NamedTuple):
    """Mean and standard deviation of the pixels between 0 and 1 that inputs are relative to."""

    mean: float = 0.0
    deviation: float = 1.0


def check_dtype(dtype: torch.dtype) -> None:
    """Refuse a type that holds no fractions.

    Raises:
        UserError: not a floating type.
    """
    if not dtype.is_floating_point:
        raise UserError(f"dtype {dtype}: samples need a floating type, such as torch.float64")


def check_images(images: Images, pixels_from: object, labels_from: object) -> None:
    """Check that there is one label of ten classes for each image, and at least one image.

    Args:
        images: what was read.
        pixels_from: the file of the pixels, for the message.
        labels_from: the file of the labels.

    Raises:
        UserError: another number of labels, a label above 9, or no image.
    """
    count = len(images.pixels)
    if count == 0:
        raise UserError(f"{pixels_from}: holds no image")
    if len(images.labels) != count:
        raise UserError(f"{labels_from}: {len(images.labels)} labels for {count} images")
    if (largest := int(images.labels.max())) >= CLASSES:
        raise UserError(f"{labels_from}: label {largest}; labels are 0 to {CLASSES - 1}")


def _samples(images: Images, scaling: Scaling, dtype: torch.dtype) -> Samples:
    x = torch.tensor(images.pixels).to(dtype).div_(255)
    x.sub_(scaling.mean).div_(scaling.deviation)
    y = torch.zeros(len(x), CLASSES, dtype=dtype)
    y[torch.arange(len(x)), torch.tensor(images.labels).long()] = 1
    return Samples(x, y)


def split(
    train: Images,
    test: Images,
    *,
    validation: int,
    seed: int,
    dtype: torch.dtype,
    scaling: Scaling | None = None,
    title: str,
) -> Dataset:
    """Set validation images aside and convert all to tensors with one-hot labels.

    Args:
        train: images to learn from, those for validation among them.
        test: images held out.
        validation: number of images set aside, drawn without replacement.
        seed: seed of that draw; the order of the others is kept.
        dtype: floating type.
        scaling: what inputs are relative to; None leaves them between 0 and 1.
        title: name of the set, for the message.

    Returns:
        Inputs (samples, pixels), labels (samples, 10).

    Raises:
        UserError: a validation size below 0 or that leaves nothing to learn from, a negative seed,
            or a type that is not floating.
    """
    check_dtype(dtype)
    count = len(train.pixels)
    if not 0 <= validation < count:
        raise UserError(
            f"{title}: validation = {validation}; with {count} training images it is 0 to "
            f"{count - 1}"
        )
    if seed < 0:
        raise UserError(f"{title}: seed = {seed} is negative")
    order = np.random.default_rng(seed).permutation(count)
    scaling = scaling or Scaling()
    learned = _samples(train.take(np.sort(order[validation:])), scaling, dtype)
    tested = _samples(test, scaling, dtype)
    if validation == 0:
        return Dataset(*learned, *tested)
    chosen_by = _samples(train.take(np.sort(order[:validation])), scaling, dtype)
    return Dataset(*learned, *tested, chosen_by)
