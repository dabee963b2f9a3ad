"""The theory of the learning rules as measurements, and the toy experiments of the papers.

The figures are in `analogdfc.experiments.figures`, which the working processes need not import.
"""

from analogdfc.experiments.alignment import (
    FlowField,
    LinearAlignment,
    Measures,
    PairScalars,
    Weights,
    flow_field,
    single_pair,
)
from analogdfc.experiments.claims import Finding
from analogdfc.experiments.feedback_configurations import Configurations
from analogdfc.experiments.feedback_learning import FeedbackLearning
from analogdfc.experiments.findings import find
from analogdfc.experiments.plan import FIGURES, Plan
from analogdfc.experiments.reference import damped_pseudoinverse, finite_minimum_norm_update
from analogdfc.experiments.results import Curves
from analogdfc.experiments.rule_alignment import Ideals, NullSpace, update_of
from analogdfc.experiments.targets import (
    NullSpaceToy,
    TargetAlignment,
    null_space_share,
    output_direction,
    target_alignment,
)
from analogdfc.experiments.toy import ToyRun, ToySettings

__all__ = [
    "FIGURES",
    "Configurations",
    "Curves",
    "FeedbackLearning",
    "Finding",
    "FlowField",
    "Ideals",
    "LinearAlignment",
    "Measures",
    "NullSpace",
    "NullSpaceToy",
    "PairScalars",
    "Plan",
    "TargetAlignment",
    "ToyRun",
    "ToySettings",
    "Weights",
    "damped_pseudoinverse",
    "find",
    "finite_minimum_norm_update",
    "flow_field",
    "null_space_share",
    "output_direction",
    "single_pair",
    "target_alignment",
    "update_of",
]
