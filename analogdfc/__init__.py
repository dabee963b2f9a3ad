"""Co-simulation of neural networks that learn on analog hardware.

The names that most work starts from are here; each room of the package hands out its own. Nothing
is imported before it is used.

    >>> import analogdfc as adfc
    >>> network = adfc.Network([4, 3, 2])
    >>> loop = adfc.Loop.of(network, adfc.DirectFeedback.transposed(network), adfc.PI())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

__version__ = "0.1.0"

if TYPE_CHECKING:
    from analogdfc.arrays import analog
    from analogdfc.cards import Card, DeviceCard
    from analogdfc.circuit import Behavioural, Chip, Design, Devices
    from analogdfc.circuit.static import StaticChip
    from analogdfc.comparison import compare
    from analogdfc.controller import PD, PI, PID, Controller, I, P
    from analogdfc.datasets import load_dataset
    from analogdfc.devices import DeviceModel
    from analogdfc.dynamics import Loop, Trajectory, simulate
    from analogdfc.errors import ConvergenceError, UserError
    from analogdfc.feedback import DirectFeedback, NetworkFeedback
    from analogdfc.learning import (
        DFC,
        Backpropagation,
        LearningRule,
        SinglePhaseDFC,
        SteadyStateDFC,
        register,
    )
    from analogdfc.network import Network
    from analogdfc.onchip.registry import get_rule
    from analogdfc.presets import load_preset
    from analogdfc.spice import Circuit, Netlist, get_simulator
    from analogdfc.storage import read_model
    from analogdfc.study import Study
    from analogdfc.training import Trainer
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.arrays": ("analog",),
            "analogdfc.cards": ("Card", "DeviceCard"),
            "analogdfc.circuit": ("Behavioural", "Chip", "Design", "Devices"),
            "analogdfc.circuit.static": ("StaticChip",),
            "analogdfc.comparison": ("compare",),
            "analogdfc.controller": ("PD", "PI", "PID", "Controller", "I", "P"),
            "analogdfc.datasets": ("load_dataset",),
            "analogdfc.devices": ("DeviceModel",),
            "analogdfc.dynamics": ("Loop", "Trajectory", "simulate"),
            "analogdfc.errors": ("ConvergenceError", "UserError"),
            "analogdfc.feedback": ("DirectFeedback", "NetworkFeedback"),
            "analogdfc.learning": (
                "DFC",
                "Backpropagation",
                "LearningRule",
                "SinglePhaseDFC",
                "SteadyStateDFC",
                "register",
            ),
            "analogdfc.network": ("Network",),
            "analogdfc.onchip.registry": ("get_rule",),
            "analogdfc.presets": ("load_preset",),
            "analogdfc.spice": ("Circuit", "Netlist", "get_simulator"),
            "analogdfc.storage": ("read_model",),
            "analogdfc.study": ("Study",),
            "analogdfc.training": ("Trainer",),
        },
    )

__all__ = [
    "DFC",
    "PD",
    "PI",
    "PID",
    "Backpropagation",
    "Behavioural",
    "Card",
    "Chip",
    "Circuit",
    "Controller",
    "ConvergenceError",
    "Design",
    "DeviceCard",
    "DeviceModel",
    "Devices",
    "DirectFeedback",
    "I",
    "LearningRule",
    "Loop",
    "Netlist",
    "Network",
    "NetworkFeedback",
    "P",
    "SinglePhaseDFC",
    "StaticChip",
    "SteadyStateDFC",
    "Study",
    "Trainer",
    "Trajectory",
    "UserError",
    "__version__",
    "analog",
    "compare",
    "get_rule",
    "get_simulator",
    "load_dataset",
    "load_preset",
    "read_model",
    "register",
    "simulate",
]
