"""Learning rules: each writes `.grad` on a network's parameters."""

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
from analogdfc.learning.single_phase import SinglePhaseDFC
from analogdfc.learning.sleep import SleepPhase
from analogdfc.learning.steady import AnalyticDFC, SteadyStateDFC

__all__ = [
    "DFC",
    "RULES",
    "AnalyticDFC",
    "Backpropagation",
    "DirectFeedbackAlignment",
    "LearningRule",
    "ParameterUpdate",
    "RuleInfo",
    "Shallow",
    "SinglePhaseDFC",
    "SleepPhase",
    "SteadyStateDFC",
    "backprop_update",
    "gauss_newton_batch_update",
    "gauss_newton_update",
    "get_rule",
    "minimum_norm_update",
    "register",
]
