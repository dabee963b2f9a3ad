"""How long simulations will take, told before they begin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from analogdfc.circuit.capacity import UNKNOWNS
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.memory import check_memory
from analogdfc.spice.netlist import Fidelity

__all__ = [
    "chips_of_a_run",
    "circuit_bytes",
    "circuit_seconds",
    "comparison_seconds",
    "in_words",
    "large_circuits",
    "long_work",
    "model_seconds",
]

LONG = 600.0
"""Seconds of work beyond which it is told before it begins."""

RUN = 1.0
"""Seconds of work that hide what handing out a run takes, some milliseconds."""

# Measured from 3-4-2 to 30-20-10 on one core, with the card of the prototype; right to a factor of
# two or three, on machines and for circuits like these.
_MODEL = 0.35
_INTERVAL = 2e-5
_UNKNOWN = 6e-5
_AMPLIFIERS = 4.4e-6
_FINER = 2.2  # a tenth of the error, with steps whose error goes by the third power
_ROUGH = 0.2  # of the time, with the long time steps of `Cells.rough`
_SMALL = 30  # amplifiers of 3-4-2
_UNIT: Mapping[Fidelity, tuple[float, float]] = {
    "ideal": (5e-3, 0.8),
    "macro": (1.25e-2, 3.3),
    "transistor": (0.3, 2.5),
}
"""Seconds a unit of time, and the power of the size."""

# Measured with KLU, macro cells from 3-4-2 to 196-64-10 with all wires, transistors to 4-6-5-4-3;
# of very large circuits it is more.
_EMPTY = 12e6
_PAIR = 10.5e3
_CELL: Mapping[Fidelity, float] = {"ideal": 35e3, "macro": 35e3, "transistor": 115e3}
"""Bytes an amplifier, with what belongs to it."""

_MUCH = 1e9
"""Bytes beyond which it is told what simulators take."""


def model_seconds(design: Design, runs: int, intervals: float) -> float:
    """Time that the behavioural model takes, in seconds.

    Args:
        design: the design.
        runs: chips times samples, run together.
        intervals: of the record.
    """
    amplifiers = Chip.of(design).circuit.amplifiers
    states = runs * UNKNOWNS * amplifiers
    # Steps are as many whatever the record; factors go with the crossbars.
    return _MODEL + _INTERVAL * intervals + _UNKNOWN * states + _AMPLIFIERS * amplifiers**2


def chips_of_a_run(design: Design, samples: int, intervals: float) -> int:
    """Chips that make a second of work together in the behavioural model, the least number.

    It is estimated and not measured, so that it is the same on every machine: chips of a run share
    their time steps. Of a circuit of some hundred amplifiers and more it is one, which then gain
    more from processes than from each other.

    Args:
        design: of the chips.
        samples: of each chip.
        intervals: of the record.
    """
    one, two = (model_seconds(design, chips * samples, intervals) for chips in (1, 2))
    return max(1, 1 + math.ceil((RUN - one) / (two - one)))


def circuit_seconds(
    design: Design, fidelity: Fidelity, duration: float, *, rough: bool = False
) -> float:
    """Time that ngspice takes for one sample, in seconds.

    Args:
        design: the design.
        fidelity: level of the cells.
        duration: length of the controlled phase, in units of the controller's time.
        rough: whether its time steps are long, see `study.Cells`.
    """
    unit, power = _UNIT[fidelity]
    size: float = Chip.of(design).circuit.amplifiers / _SMALL
    return (_ROUGH if rough else 1.0) * duration * unit * math.pow(size, power)


def circuit_bytes(design: Design, fidelity: Fidelity) -> float:
    """Memory that ngspice takes for a circuit, in bytes, to a factor of two.

    Args:
        design: the design.
        fidelity: level of the cells.
    """
    circuit = Chip.of(design).circuit
    pairs = sum(bar.plus.numel() for bar in circuit.crossbars)
    return _EMPTY + _PAIR * pairs + _CELL[fidelity] * circuit.amplifiers


def large_circuits(design: Design, levels: Sequence[Fidelity], at_once: int) -> list[str]:
    """That simulators will take much memory, a sentence; none where they won't.

    Args:
        design: the design.
        levels: of the cells.
        at_once: simulations at a time, >= 1.

    Raises:
        UserError: more than this machine has.
    """
    needed = at_once * max(circuit_bytes(design, level) for level in levels)
    less = "A smaller network takes less, and so do fewer simulations at a time (--jobs)"
    what = (
        f"ngspice, {at_once} at a time with {Chip.of(design).circuit.amplifiers} amplifiers each,"
    )
    check_memory(round(needed / 8), what, less)
    if needed < _MUCH:
        return []
    return [f"{what} will take about {needed / 1e9:.2g} GB of memory. {less}"]


def comparison_seconds(
    design: Design,
    samples: int,
    duration: float,
    levels: Sequence[Fidelity],
    *,
    jobs: int = 1,
    causes: bool = False,
    check_steps: bool = False,
) -> dict[str, float]:
    """Time that a comparison of a design's realisations takes, in seconds, by what is done.

    Args:
        design: the design.
        samples: how many.
        duration: length of the controlled phase, in units of the controller's time.
        levels: of the circuit's cells; the model is run beside all but 'ideal'.
        jobs: simulations at a time.
        causes: whether each imperfection is switched off alone.
        check_steps: whether all is run with finer steps too.
    """
    again = 1 + _FINER if check_steps else 1
    found = {
        f"ngspice, {level} cells": again
        * -(-samples // jobs)
        * circuit_seconds(design, level, duration)
        for level in levels
    }
    if any(level != "ideal" for level in levels):
        intervals = duration / (design.tau_v / 10)
        found["behavioural model"] = again * model_seconds(design, samples, intervals)
        if causes:
            chips = samples * (len(design.imperfections) + 1)
            found["causes"] = model_seconds(design, chips, duration / 0.1)
    return found


def long_work(seconds: Mapping[str, float]) -> list[str]:
    """That work will be long, a sentence; none where it won't.

    Args:
        seconds: that the parts of the work take, by what they are.
    """
    whole = sum(seconds.values())
    if whole < LONG:
        return []
    parts = ", ".join(f"{name} {in_words(s)}" for name, s in seconds.items() if s > 0.1 * whole)
    return [
        f"this will take about {in_words(whole)} ({parts}). A shorter duration, fewer samples or a "
        "smaller network take less"
    ]


def in_words(seconds: float) -> str:
    """A time for people, such as '2.5 hours'.

    Args:
        seconds: the time.
    """
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(number: float) -> str:
    return f"{number:.2g}" if number < 99.5 else f"{number:.0f}"
