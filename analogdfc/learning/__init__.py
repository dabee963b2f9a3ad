"""Learning rules: each writes `.grad` on a network's parameters."""

from analogdfc.learning.alignment import (
    Dropout,
    FeedbackAlignment,
    NodePerturbation,
    SequentialFeedback,
)
from analogdfc.learning.base import RULES, LearningRule, RuleInfo, get_rule, register
from analogdfc.learning.controls import Backpropagation, DirectFeedbackAlignment, Shallow
from analogdfc.learning.dfc import DFC
from analogdfc.learning.ideal import (
    ParameterUpdate,
    backprop_update,
    gauss_newton_batch_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.learning.inversion import (
    DynamicInversion,
    FastControl,
    LoopFeedback,
    Monitor,
    NonDynamicInversion,
    Pseudobackpropagation,
    RepeatedInversion,
    SingleLoopInversion,
)
from analogdfc.learning.making import make_rule
from analogdfc.learning.ranks import Ranks
from analogdfc.learning.single_phase import SinglePhaseDFC
from analogdfc.learning.sleep import SleepPhase
from analogdfc.learning.steady import AnalyticDFC, SteadyStateDFC
from analogdfc.learning.targets import (
    DDTPRHL,
    DTP,
    DTPDRL,
    DDTPControl,
    DDTPLinear,
    GaussNewton,
    GaussNewtonTargets,
    GeneralisedGaussNewtonTargets,
    InverseTargetPropagation,
    LearnedTargets,
    MinimumNorm,
    PretrainedDTP,
    RecurrentDDTPRHL,
)

__all__ = [
    "DDTPRHL",
    "DFC",
    "DTP",
    "DTPDRL",
    "RULES",
    "AnalyticDFC",
    "Backpropagation",
    "DDTPControl",
    "DDTPLinear",
    "DirectFeedbackAlignment",
    "Dropout",
    "DynamicInversion",
    "FastControl",
    "FeedbackAlignment",
    "GaussNewton",
    "GaussNewtonTargets",
    "GeneralisedGaussNewtonTargets",
    "InverseTargetPropagation",
    "LearnedTargets",
    "LearningRule",
    "LoopFeedback",
    "MinimumNorm",
    "Monitor",
    "NodePerturbation",
    "NonDynamicInversion",
    "ParameterUpdate",
    "PretrainedDTP",
    "Pseudobackpropagation",
    "Ranks",
    "RecurrentDDTPRHL",
    "RepeatedInversion",
    "RuleInfo",
    "SequentialFeedback",
    "Shallow",
    "SingleLoopInversion",
    "SinglePhaseDFC",
    "SleepPhase",
    "SteadyStateDFC",
    "backprop_update",
    "gauss_newton_batch_update",
    "gauss_newton_update",
    "get_rule",
    "make_rule",
    "minimum_norm_update",
    "register",
]
