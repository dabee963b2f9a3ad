"""How well a network does: its loss and its share of wrong answers, over all samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.datasets import Samples
from analogdfc.errors import UserError
from analogdfc.losses import Loss
from analogdfc.network import Network
from analogdfc.samples import check_samples

# Samples of one forward pass: large enough to be fast, small enough for the memory of a GPU.
_CHUNK = 2048


class Score(NamedTuple):
    """Figures of one part of a data set.

    Attributes:
        loss: loss of a sample, summed over outputs, mean over samples.
        error: share of the samples whose largest output isn't that of their label, 0 to 1; nan
            where labels aren't classes.
    """

    loss: float
    error: float

    @classmethod
    def none(cls) -> Score:
        """Where there are no samples."""
        return cls(math.nan, math.nan)


class Metrics(NamedTuple):
    """Figures of one epoch.

    Attributes:
        epoch: its number, from 1.
        train: loss: running mean during the epoch, each mini-batch before its update. error: of
            the training samples at the end of the epoch.
        validation: at the end of the epoch; nan without a validation split.
        test: at the end of the epoch.
    """

    epoch: int
    train: Score
    validation: Score
    test: Score


def are_classes(y: Tensor) -> bool:
    """Whether all labels, (samples, n_L), are one-hot."""
    return bool((((y == 0) | (y == 1)).all(dim=-1) & (y.sum(dim=-1) == 1)).all())


@torch.no_grad()
def evaluate(
    outputs: Callable[[Tensor], Tensor], loss: Loss, samples: Samples, *, classes: bool
) -> Score:
    """Loss and error over all samples.

    Args:
        outputs: what answers, (batch, n_L), to inputs (batch, n_0): a network, or a rule's
            `outputs`.
        loss: the loss of the answers.
        samples: inputs and labels, at least one.
        classes: count wrong answers; the labels are one-hot.

    Raises:
        UserError: no samples, or labels that aren't (samples, n_L).
    """
    if samples.y.dim() != 2 or len(samples.x) != len(samples.y):
        raise UserError(
            f"inputs {tuple(samples.x.shape)} and labels {tuple(samples.y.shape)} do not fit each "
            "other: expected (samples, n_0) and (samples, n_L)"
        )
    if len(samples.x) == 0:
        raise UserError("no samples: a mean needs at least one")
    total, wrong = 0.0, 0
    for x, y in zip(torch.split(samples.x, _CHUNK), torch.split(samples.y, _CHUNK), strict=True):
        r = outputs(x)
        total += float(loss.value(r, y).sum())
        if classes:
            wrong += int((r.argmax(dim=-1) != y.argmax(dim=-1)).sum())
    count = len(samples.x)
    return Score(total / count, wrong / count if classes else math.nan)


def accuracy(network: Network, x: Tensor, y: Tensor) -> float:
    """Share of the samples whose largest output is that of their label, one-hot (batch, n_L).

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        y: labels, one-hot, (batch, n_L).

    Raises:
        UserError: inputs or labels that don't fit the network, or no samples.
    """
    check_samples(network.sizes, x, y)
    with torch.no_grad():
        hits = network(x).argmax(dim=-1) == y.argmax(dim=-1)
    return float(hits.double().mean())
