"""Training in its plainest form: a rule, an optimiser, epochs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from analogdfc.datasets import Dataset
from analogdfc.errors import UserError
from analogdfc.learning import LearningRule
from analogdfc.samples import check_samples
from analogdfc.training.loop import FORWARD, Phase, Training, descent, shuffled
from analogdfc.training.stopping import Epochs


def train(
    rule: LearningRule,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    progress: Callable[[int], object] | None = None,
) -> list[float]:
    """Train in mini-batches.

    Args:
        rule: the learning rule; it fills `.grad` of its network.
        optimizer: makes the steps.
        data: the samples.
        epochs: passes over the data, >= 1.
        batch_size: samples of a mini-batch, >= 1.
        generator: order of the samples.
        progress: called after each mini-batch with the samples it had.

    Returns:
        The mean loss of each epoch, before its updates.

    Raises:
        UserError: epochs or batch size below 1, or samples that don't fit the network.
        ConvergenceError: the rule's dynamics diverged, or the loss left the finite numbers.
    """
    if epochs < 1 or batch_size < 1:
        raise UserError(f"epochs = {epochs}, batch_size = {batch_size}: both must be >= 1")
    check_samples(rule.network.sizes, data.x, data.y)
    training = Training[float](
        data,
        [Phase(FORWARD, descent(rule, optimizer), shuffled(generator))],
        batch_size=batch_size,
        stop=Epochs(epochs),
        evaluate=lambda: training.mean_loss,
    )
    training.run(None if progress is None else lambda _, count: progress(count))
    return training.history
