"""Feedback that learns on the chip: the sleep phase of a circuit (Meulemans et al. 2021, eq. 13).

    sleep, lessons = Sleep(), Lessons(steps=20)
    ways = [Equations(), Model(), Simulated(get_simulator())]
    nights = Nights([sleep_through(way, design, x, sleep, lessons, chip_seed=0) for way in ways])
    nights.numbers()

Noise moves the feedback compartments while the controller holds the output at its free value; the
feedback weights learn from what the noise makes of the control signal.
"""

from analogdfc.sleeping.night import Apart, Lessons, Night, sleep_seconds, sleep_through
from analogdfc.sleeping.phase import Sleep, compliance, feedback_updates, rewritten
from analogdfc.sleeping.report import Nights, nights_figure
from analogdfc.sleeping.ways import Equations, Model, Simulated, Way
from analogdfc.sleeping.writing import Exact, OnDevices, Writes

__all__ = [
    "Apart",
    "Equations",
    "Exact",
    "Lessons",
    "Model",
    "Night",
    "Nights",
    "OnDevices",
    "Simulated",
    "Sleep",
    "Way",
    "Writes",
    "compliance",
    "feedback_updates",
    "nights_figure",
    "rewritten",
    "sleep_seconds",
    "sleep_through",
]
