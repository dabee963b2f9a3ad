"""Learning rules: each writes `.grad` on a network's parameters."""

from analogdfc.learning.base import RULES, LearningRule, RuleInfo, get_rule, register
from analogdfc.learning.dfc import DFC

__all__ = ["DFC", "RULES", "LearningRule", "RuleInfo", "get_rule", "register"]
