"""What the file of a preset of deep feedback control holds, in the published conventions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from analogdfc.errors import UserError
from analogdfc.presets._base import Card, Table
from analogdfc.training import SGD, Adam, OptimizerSettings


class Settings(Table):
    """What all rules of an experiment share."""

    dataset: str
    sizes: tuple[int, ...]
    activation: str | tuple[str, ...]
    loss: Literal["l2", "cross-entropy"]
    autoencoder: bool
    epochs: int
    batch_size: int
    clip: float

    @property
    def share(self) -> float:
        """Gradient of the published loss, over that of a sample's loss summed over outputs."""
        outputs = self.sizes[-1] if self.loss == "l2" else 1
        return 1 / (self.batch_size * outputs)


class AdamTable(Table):
    """Adam, for forward and feedback weights."""

    kind: Literal["adam"]
    betas: tuple[float, float]

    def settings(
        self, lr: float, eps: float | None, *, factor: float = 1.0, weight_decay: float = 0.0
    ) -> OptimizerSettings:
        """The optimiser for gradients that are `factor` times smaller than the published ones."""
        if eps is None:
            raise UserError("the preset gives no eps for Adam")
        return Adam(lr=lr, betas=self.betas, eps=eps / factor, weight_decay=weight_decay)


class SGDTable(Table):
    """Stochastic gradient descent, for forward and feedback weights."""

    kind: Literal["sgd"]
    momentum: float

    def settings(
        self, lr: float, eps: float | None, *, factor: float = 1.0, weight_decay: float = 0.0
    ) -> OptimizerSettings:
        """The optimiser for gradients that are `factor` times smaller than the published ones."""
        return SGD(lr=lr * factor, momentum=self.momentum, weight_decay=weight_decay)


class Rate(Table):
    """Step sizes of a rule.

    Attributes:
        lr_lambda: learning rate times target stepsize.
        target_stepsize: lambda.
        eps: Adam's.
    """

    lr_lambda: float
    target_stepsize: float
    eps: float | None = None

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.lr_lambda / self.target_stepsize


class Simulation(Table):
    """The loop of a rule; times in units of tau_u."""

    k_p: float
    tau_v: float
    dt: float
    steps: int


class Analytic(Table):
    """The loop of a rule that doesn't simulate it."""

    k_p: float
    tau_v: float


class Sleep(Table):
    """The sleep phase; times in units of tau_u."""

    sigma: float
    alpha: float
    k_p: float
    tau_u: float
    tau_v: float
    tau_fb: float
    dt: float
    steps: int
    train_output: bool


class FeedbackLearning(Table):
    """Step sizes and epochs of feedback learning."""

    lr: float
    lr_pretraining: float
    eps: float | None = None
    beta: float
    pretraining_epochs: int
    before: int
    after: int


class Control(Rate):
    """Deep feedback control with fixed feedback weights."""

    alpha: float
    tau_u: float
    proactive: bool
    dfc: Simulation
    dfc_ss: Simulation = Field(alias="dfc-ss")
    dfc_ssa: Analytic = Field(alias="dfc-ssa")


class LearnedControl(Control):
    """Deep feedback control with learned feedback weights."""

    sleep: Sleep
    feedback: FeedbackLearning


class Tables(Table):
    """All of a preset, in the published conventions."""

    card: Card
    experiment: Settings
    optimizer: AdamTable | SGDTable = Field(discriminator="kind")
    learned: LearnedControl | None = None
    fixed: Control | None = None
    bp: Rate | None = None
    dfa: Rate | None = None
