"""The circuit described once, as data: banks of equal parts with named ports."""

from analogdfc.circuit.description._builder import compensation
from analogdfc.circuit.description.circuit import Description
from analogdfc.circuit.description.compartments import Compartments
from analogdfc.circuit.description.controllers import PART as CONTROLLER
from analogdfc.circuit.description.controllers import check_controller
from analogdfc.circuit.description.elements import (
    BIAS,
    INPUT,
    TARGET,
    Array,
    AutoZero,
    Bank,
    Branches,
    Capacitors,
    Cells,
    ControlTaps,
    Crossbar,
    Instances,
    LayerTaps,
    Node,
    Port,
    Rails,
    Resistors,
    Sources,
    Switches,
    Tap,
)
from analogdfc.circuit.description.neurons import HIDDEN, OUTPUT, check_activations

__all__ = [
    "BIAS",
    "CONTROLLER",
    "HIDDEN",
    "INPUT",
    "OUTPUT",
    "TARGET",
    "Array",
    "AutoZero",
    "Bank",
    "Branches",
    "Capacitors",
    "Cells",
    "Compartments",
    "ControlTaps",
    "Crossbar",
    "Description",
    "Instances",
    "LayerTaps",
    "Node",
    "Port",
    "Rails",
    "Resistors",
    "Sources",
    "Switches",
    "Tap",
    "check_activations",
    "check_controller",
    "compensation",
]
