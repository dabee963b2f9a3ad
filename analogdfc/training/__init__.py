"""Training of a network by a learning rule."""

from analogdfc.training.angles import REFERENCES, AngleCurves, Angles, AngleSettings, Reference
from analogdfc.training.checkpoints import Task, checkpoint_tree, restore, task_of
from analogdfc.training.decay import DECAYS, LinearDecay, NoDecay, RateDecay, StepDecay
from analogdfc.training.divergence import Divergence
from analogdfc.training.experiment import Experiment, Switch
from analogdfc.training.loop import Phase, Schedule, Training
from analogdfc.training.metrics import Metrics, Score, accuracy, evaluate
from analogdfc.training.optimizers import OPTIMIZERS, SGD, Adam, OptimizerSettings
from analogdfc.training.plan import FeedbackPlan, Plan
from analogdfc.training.simple import train
from analogdfc.training.start import FeedbackStart, InitialWeights
from analogdfc.training.stopping import Budget, Epochs, Patience, Reached, Stop
from analogdfc.training.switching import Switched
from analogdfc.training.trainer import Trainer

__all__ = [
    "DECAYS",
    "OPTIMIZERS",
    "REFERENCES",
    "SGD",
    "Adam",
    "AngleCurves",
    "AngleSettings",
    "Angles",
    "Budget",
    "Divergence",
    "Epochs",
    "Experiment",
    "FeedbackPlan",
    "FeedbackStart",
    "InitialWeights",
    "LinearDecay",
    "Metrics",
    "NoDecay",
    "OptimizerSettings",
    "Patience",
    "Phase",
    "Plan",
    "RateDecay",
    "Reached",
    "Reference",
    "Schedule",
    "Score",
    "StepDecay",
    "Stop",
    "Switch",
    "Switched",
    "Task",
    "Trainer",
    "Training",
    "accuracy",
    "checkpoint_tree",
    "evaluate",
    "restore",
    "task_of",
    "train",
]
