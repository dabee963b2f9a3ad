"""The differential equations of the control loop and their solution."""

from analogdfc.dynamics.averaging import mean_update
from analogdfc.dynamics.integrators import Euler, Integrator, RungeKutta4
from analogdfc.dynamics.loop import Loop, LoopState, derivative, free_state
from analogdfc.dynamics.neuron import ConductanceNeuron
from analogdfc.dynamics.radau import Radau
from analogdfc.dynamics.simulation import simulate
from analogdfc.dynamics.trajectory import Readings, Trajectory, Update

__all__ = [
    "ConductanceNeuron",
    "Euler",
    "Integrator",
    "Loop",
    "LoopState",
    "Radau",
    "Readings",
    "RungeKutta4",
    "Trajectory",
    "Update",
    "derivative",
    "free_state",
    "mean_update",
    "simulate",
]
