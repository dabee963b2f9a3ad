"""Netlists, ngspice, and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.spice.circuit import Circuit
    from analogdfc.spice.energy import measure_circuit
    from analogdfc.spice.engines import SIMULATORS, get_simulator, ngspice_version
    from analogdfc.spice.netlist import FIDELITIES, Fidelity, Netlist
    from analogdfc.spice.pyspice import to_pyspice
    from analogdfc.spice.simulation import Simulation, simulate_all
    from analogdfc.spice.simulator import Simulator, Waveforms
    from analogdfc.spice.testbench import Testbench
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.spice.circuit": ("Circuit",),
            "analogdfc.spice.energy": ("measure_circuit",),
            "analogdfc.spice.engines": (
                "SIMULATORS",
                "get_simulator",
                "ngspice_version",
            ),
            "analogdfc.spice.netlist": (
                "FIDELITIES",
                "Fidelity",
                "Netlist",
            ),
            "analogdfc.spice.pyspice": ("to_pyspice",),
            "analogdfc.spice.simulation": (
                "Simulation",
                "simulate_all",
            ),
            "analogdfc.spice.simulator": (
                "Simulator",
                "Waveforms",
            ),
            "analogdfc.spice.testbench": ("Testbench",),
        },
    )

__all__ = [
    "FIDELITIES",
    "SIMULATORS",
    "Circuit",
    "Fidelity",
    "Netlist",
    "Simulation",
    "Simulator",
    "Testbench",
    "Waveforms",
    "get_simulator",
    "measure_circuit",
    "ngspice_version",
    "simulate_all",
    "to_pyspice",
]
