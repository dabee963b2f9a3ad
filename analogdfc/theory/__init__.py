"""The theory of the learning rules as measurements, and the toy experiments of the papers.

The figures are in `analogdfc.theory.figures`, which the processes that do the work need not import.
"""

from analogdfc.theory.alignment import (
    FlowField,
    LinearAlignment,
    Measures,
    PairScalars,
    Weights,
    flow_field,
    single_pair,
)
from analogdfc.theory.feedback_configurations import Configurations
from analogdfc.theory.feedback_learning import FeedbackLearning
from analogdfc.theory.findings import Finding, find
from analogdfc.theory.jobs import Curves, Job, run_jobs
from analogdfc.theory.plan import FIGURES, Plan
from analogdfc.theory.reference import damped_pseudoinverse, finite_minimum_norm_update
from analogdfc.theory.rule_alignment import Ideals, NullSpace, update_of
from analogdfc.theory.targets import (
    NullSpaceToy,
    TargetAlignment,
    null_space_share,
    output_direction,
    target_alignment,
)
from analogdfc.theory.toy import ToyRun, ToySettings

__all__ = [
    "FIGURES",
    "Configurations",
    "Curves",
    "FeedbackLearning",
    "Finding",
    "FlowField",
    "Ideals",
    "Job",
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
    "run_jobs",
    "single_pair",
    "target_alignment",
    "update_of",
]
