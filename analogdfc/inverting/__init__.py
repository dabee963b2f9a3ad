"""Dynamic inversion as a circuit: its realisations side by side (Podlaski and Machens 2020).

Layer pairs in sequence, all layers at once with repeated ones, or a single loop; each with the
control of expanding layers where that is wanted. All stand on the description of the circuit.
"""

from analogdfc.inverting.assembly import chips
from analogdfc.inverting.cells import InversionBench, InversionCells
from analogdfc.inverting.cost import InversionEstimate, estimate_inversion
from analogdfc.inverting.design import FORMS, Form, InversionDesign, Link
from analogdfc.inverting.ideal import Equations
from analogdfc.inverting.model import Behaviour
from analogdfc.inverting.runs import Grid, InversionRun, Realisation, Waves, run
from analogdfc.inverting.study import InversionResult, InversionStudy

__all__ = [
    "FORMS",
    "Behaviour",
    "Equations",
    "Form",
    "Grid",
    "InversionBench",
    "InversionCells",
    "InversionDesign",
    "InversionEstimate",
    "InversionResult",
    "InversionRun",
    "InversionStudy",
    "Link",
    "Realisation",
    "Waves",
    "chips",
    "estimate_inversion",
    "run",
]
