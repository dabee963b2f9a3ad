"""The theory of deep feedback control as measurements: the toy experiments of the paper.

The figures are in `analogdfc.theory.figures`, which the processes that do the work need not import.
"""

from analogdfc.theory.feedback_configurations import Configurations
from analogdfc.theory.feedback_learning import FeedbackLearning
from analogdfc.theory.findings import Finding, find
from analogdfc.theory.jobs import Curves, Job, run_jobs
from analogdfc.theory.plan import FIGURES, Plan
from analogdfc.theory.reference import damped_pseudoinverse, finite_minimum_norm_update
from analogdfc.theory.toy import ToyRun, ToySettings

__all__ = [
    "FIGURES",
    "Configurations",
    "Curves",
    "FeedbackLearning",
    "Finding",
    "Job",
    "Plan",
    "ToyRun",
    "ToySettings",
    "damped_pseudoinverse",
    "find",
    "finite_minimum_norm_update",
    "run_jobs",
]
