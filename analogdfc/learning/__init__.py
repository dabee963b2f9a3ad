"""Learning rules: each writes `.grad` on a network's parameters."""

from analogdfc.learning.base import RULES, LearningRule, RuleInfo, get_rule, register
from analogdfc.learning.controls import Backpropagation, DirectFeedbackAlignment, Shallow
from analogdfc.learning.dfc import DFC
from analogdfc.learning.steady import AnalyticDFC, SteadyStateDFC

__all__ = [
    "DFC",
    "RULES",
    "AnalyticDFC",
    "Backpropagation",
    "DirectFeedbackAlignment",
    "LearningRule",
    "RuleInfo",
    "Shallow",
    "SteadyStateDFC",
    "get_rule",
    "register",
]
