"""Target propagation and its ideal: layers that learn from targets of their own."""

from analogdfc.learning.targets.base import TargetRule
from analogdfc.learning.targets.ddtp import DDTPRHL, DDTPControl, DDTPLinear, RecurrentDDTPRHL
from analogdfc.learning.targets.dtp import DTP, DTPDRL, PretrainedDTP
from analogdfc.learning.targets.gauss_newton import (
    GaussNewtonTargets,
    GeneralisedGaussNewtonTargets,
    activation_jacobians,
    target_updates,
)
from analogdfc.learning.targets.ideal_rules import GaussNewton, MinimumNorm
from analogdfc.learning.targets.learned import FeedbackSchedule, LearnedTargets
from analogdfc.learning.targets.pathways import (
    DirectTargetFeedback,
    LayerwiseFeedback,
    RandomHiddenFeedback,
    TargetFeedback,
)
from analogdfc.learning.targets.reconstruction import (
    DifferenceReconstruction,
    LayerwiseReconstruction,
    LoopReconstruction,
    Reconstruction,
)
from analogdfc.learning.targets.tp import InverseTargetPropagation

__all__ = [
    "DDTPRHL",
    "DTP",
    "DTPDRL",
    "DDTPControl",
    "DDTPLinear",
    "DifferenceReconstruction",
    "DirectTargetFeedback",
    "FeedbackSchedule",
    "GaussNewton",
    "GaussNewtonTargets",
    "GeneralisedGaussNewtonTargets",
    "InverseTargetPropagation",
    "LayerwiseFeedback",
    "LayerwiseReconstruction",
    "LearnedTargets",
    "LoopReconstruction",
    "MinimumNorm",
    "PretrainedDTP",
    "RandomHiddenFeedback",
    "Reconstruction",
    "RecurrentDDTPRHL",
    "TargetFeedback",
    "TargetRule",
    "activation_jacobians",
    "target_updates",
]
