"""The small digits of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from analogdfc.datasets._base import Dataset
from analogdfc.errors import UserError


def digits(side: int = 4, *, held_out: int = 360, dtype: torch.dtype = torch.float64) -> Dataset:
    """The handwritten digits of scikit-learn, 1797 images, labels one-hot in ten classes.

    Args:
        side: images of side x side pixels: 8 as they are, 4 the mean of 2 x 2 pixels.
        held_out: images kept for testing; which ones is the same in every run.
        dtype: floating type.

    Returns:
        Inputs between 0 and 1.

    Raises:
        UserError: another side.
    """
    from sklearn.datasets import load_digits

    if side not in (4, 8):
        raise UserError(f"digits of {side} x {side} pixels: there are 4 x 4 and 8 x 8")
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, side, 8 // side, side, 8 // side).mean(axis=(2, 4)) / 16
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.tensor(images.reshape(len(images), -1)[order], dtype=dtype)
    y = torch.nn.functional.one_hot(torch.tensor(labels[order]), 10).to(dtype)
    return Dataset(x[held_out:], y[held_out:], x[:held_out], y[:held_out])
