"""Training of a network by a learning rule."""

from analogdfc.training.checkpoints import checkpoint_tree, restore
from analogdfc.training.divergence import Divergence
from analogdfc.training.experiment import Experiment
from analogdfc.training.loop import Phase, Schedule, Training
from analogdfc.training.metrics import Metrics, Score, accuracy, evaluate
from analogdfc.training.optimizers import OPTIMIZERS, SGD, Adam, OptimizerSettings
from analogdfc.training.plan import FeedbackPlan, Plan
from analogdfc.training.simple import train
from analogdfc.training.stopping import Budget, Epochs, Patience, Reached, Stop
from analogdfc.training.trainer import Trainer

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "Budget",
    "Divergence",
    "Epochs",
    "Experiment",
    "FeedbackPlan",
    "Metrics",
    "OptimizerSettings",
    "Patience",
    "Phase",
    "Plan",
    "Reached",
    "Schedule",
    "Score",
    "Stop",
    "Trainer",
    "Training",
    "accuracy",
    "checkpoint_tree",
    "evaluate",
    "restore",
    "train",
]
