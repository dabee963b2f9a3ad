"""What training does, as settings that a preset holds and a record keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from analogdfc.errors import UserError
from analogdfc.training.decay import NoDecay, RateDecay
from analogdfc.training.optimizers import Adam, OptimizerSettings


@dataclass(frozen=True, kw_only=True)
class FeedbackPlan:
    """How the feedback weights are learned (Meulemans et al. 2021, App. F.2).

    Attributes:
        optimizer: makes the steps between the forward epochs.
        pretraining: makes the steps before the first forward epoch.
        pretraining_epochs: epochs of these, >= 0.
        before: feedback epochs before each forward epoch, >= 0.
        after: and after it, >= 0. The paper's X is the sum of both.
        clip: largest joint norm of all feedback gradients; None for no limit.

    Raises:
        UserError: a value outside its range.
    """

    optimizer: OptimizerSettings = field(default_factory=lambda: Adam(lr=5e-4))
    pretraining: OptimizerSettings = field(default_factory=lambda: Adam(lr=1e-3))
    pretraining_epochs: int = 10
    before: int = 1
    after: int = 2
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if min(self.pretraining_epochs, self.before, self.after) < 0 or not _is_limit(self.clip):
            raise UserError(
                f"feedback learning: pretraining_epochs = {self.pretraining_epochs}, before = "
                f"{self.before}, after = {self.after}: all must be >= 0; clip = {self.clip}: > 0"
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is trained.

    Attributes:
        epochs: passes over the data with forward learning, >= 0.
        batch_size: samples of a mini-batch, >= 1.
        optimizer: makes the steps of the weights and biases.
        clip: largest norm of the gradient of each weight and bias; None for no limit.
        feedback: how the feedback weights are learned; None leaves them as they are.
        patience: epochs without a better validation figure after which training stops; None for
            all epochs.
        frozen: numbers of the layers, 1 to L, whose weights and biases don't learn, neither by
            momentum nor by weight decay.
        lr_decay: how the learning rate of the weights and biases falls from that of `optimizer`.

    Raises:
        UserError: a value outside its range.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: OptimizerSettings = field(default_factory=Adam)
    clip: float | None = None
    feedback: FeedbackPlan | None = None
    patience: int | None = None
    frozen: tuple[int, ...] = ()
    lr_decay: RateDecay = field(default_factory=NoDecay)

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1:
            raise UserError(
                f"epochs = {self.epochs}, batch_size = {self.batch_size}: epochs >= 0 and "
                "batch_size >= 1 are required"
            )
        if not _is_limit(self.clip) or (self.patience is not None and self.patience < 1):
            raise UserError(
                f"clip = {self.clip}, patience = {self.patience}: both must be positive or None"
            )

    def rate(self, epochs: int) -> float:
        """Learning rate of weights and biases.

        Args:
            epochs: that are over, fewer than all.
        """
        return self.optimizer.lr * self.lr_decay.share(epochs, self.epochs)


def _is_limit(norm: float | None) -> bool:
    return norm is None or norm > 0
