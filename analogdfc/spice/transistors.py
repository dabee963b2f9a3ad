"""What ngspice needs beside a deck to find the rest of many transistors."""

from __future__ import annotations

import re

from analogdfc.kits.expressions import spice_number
from analogdfc.spice.deck import logical_lines

_TRANSISTORS = re.compile(r"\.model \S+ [np]mos\b", re.IGNORECASE)
_TOLERANCE = re.compile(r"\b(abstol|vntol)=(\S+)", re.IGNORECASE)
LEAST_TOLERANCES = {"abstol": 1e-10, "vntol": 1e-8}
"""Amperes and volts below which an operating point with hundreds of transistors isn't found: all
stepping fails there, and ngspice takes the end of a pseudo-transient, up to 0.5 mV from the rest.
"""

_FINER_STEPS = "trtol=0.3"
"""What makes up for it in time: the error of a step is measured against the same tolerances."""

_ITERATIONS = "itl1=500 itl2=500"
"""Newton iterations that an operating point and a step of gmin stepping may take. With ngspice's
own limits, 100 and 50, gmin stepping gives up on 16-10-10 in GF180, with KLU as with Sparse, and so
may source stepping; what is left then is a pseudo-transient.
"""

_SHUNT = "rshunt=1e15"
"""Ohms from every node to ground, as little as gmin: KLU has a pivot then where transistors are
off, and finds rests that it doesn't find without (16-10-10 in SKY130). Less would find them sooner,
and empty the holds."""


def has_transistors(netlist: str) -> bool:
    """Whether a deck has models of MOS transistors.

    Args:
        netlist: the deck.
    """
    return any(_TRANSISTORS.match(line) for _, line in logical_lines(netlist))


def for_transistors(netlist: str) -> str:
    """Options by which a deck with transistors finds its rest; empty for one without.

    Args:
        netlist: the deck; tolerances that it gives itself and that are finer are made coarser.
    """
    if not has_transistors(netlist):
        return ""
    options = (line for _, line in logical_lines(netlist) if line.lower().startswith(".opt"))
    given = [pair for line in options for pair in _TOLERANCE.findall(line)]
    values = [(name.lower(), spice_number(value)) for name, value in given]
    tight = {name for name, value in values if value is not None and value < LEAST_TOLERANCES[name]}
    coarser = [f"{name}={LEAST_TOLERANCES[name]:g}" for name in sorted(tight)]
    return " ".join([".options", _ITERATIONS, *coarser, *[_FINER_STEPS] * bool(tight)])


def for_klu(netlist: str) -> str:
    """Options by which KLU solves a deck.

    KLU keeps its pivots from one time step to the next. Where a switch opens, a pivot that was good
    becomes a poor one; with the bound set here it is noticed, and another is taken.

    Args:
        netlist: the deck.
    """
    return " ".join([".options klu pivrel=0.1", *[_SHUNT] * has_transistors(netlist)])
