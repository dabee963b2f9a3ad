"""One design in its realisations, on the same samples, laid side by side.

    study = Study(design, x, step)
    result = study.run(Ideal(), Model(seed=0), Cells("macro", simulator, seed=0))
    for comparison in result.comparisons: ...

A realisation says how a design runs; all return a `Trajectory`, so any two can be compared.
"""

from analogdfc.study.conditions import Condition, conditions
from analogdfc.study.realisations import (
    BEHAVIOURAL,
    CELLS,
    IDEAL,
    PAIRS,
    STATIC,
    Cells,
    Ideal,
    Model,
    Progress,
    Realisation,
    Rest,
    Stepped,
)
from analogdfc.study.study import Study, StudyResult

__all__ = [
    "BEHAVIOURAL",
    "CELLS",
    "IDEAL",
    "PAIRS",
    "STATIC",
    "Cells",
    "Condition",
    "Ideal",
    "Model",
    "Progress",
    "Realisation",
    "Rest",
    "Stepped",
    "Study",
    "StudyResult",
    "conditions",
]
