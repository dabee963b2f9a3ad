"""What the devices inside the cells of the library stand for in an account of energy.

A cell of the library that brings its own devices is declared here, by the names that its file gives
them. In all other cells (neurons, controllers) a resistor or a capacitor counts as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from analogdfc.updating.costs import HOLDS, MODULATORS, MULTIPLIERS


class Meter(Enum):
    """How a device's work is found, and where it belongs."""

    OUTPUT = auto()
    """Ammeter of a class-AB output: what the stage takes from its supplies less what it gives."""

    QUIESCENT = auto()
    """Current source between the supplies: an amplifier's current at rest."""

    TAIL = auto()
    """What a tanh cell's current leaves on the other side, between the supplies."""

    SINK = auto()
    """A tanh cell's output, from a summing node into the lower supply."""

    LOAD = auto()
    """A resistor that a cell's input is."""

    STORED = auto()
    """A capacitor around an amplifier."""

    SOURCE = auto()
    """A source that gives what others take, as those at the top of a testbench."""

    DEVICE = auto()
    """A crossbar's conductance."""

    WIRE = auto()
    """A segment of a crossbar's lines."""

    IDLE = auto()
    """Current between the supplies of a cell of the update path."""

    RAIL = auto()
    """Current from one supply into what a cell of the update path drives, or from that to the
    other."""


METERED: Mapping[str, Mapping[str, Meter]] = {
    "opamp": {"vout": Meter.OUTPUT, "iq": Meter.QUIESCENT, "cin": Meter.STORED},
    "tanh_cell": {
        "btail": Meter.TAIL,
        "bout": Meter.SINK,
        "rinp": Meter.LOAD,
        "rinn": Meter.LOAD,
    },
    "target": {"bmt": Meter.SOURCE},
    "autozero": {"ez": Meter.SOURCE},
    "hold": {},
    "switch": {},
    "update_hold": {"iq": Meter.IDLE},
    "update_modulator": {"bq": Meter.IDLE, "bsource": Meter.RAIL, "bsink": Meter.RAIL},
    "update_multiplier": {"bq": Meter.IDLE},
    "update_row": {},
    "pair": {"rp": Meter.DEVICE, "rn": Meter.DEVICE},
    "pair_wired": {
        "rp": Meter.DEVICE,
        "rn": Meter.DEVICE,
        "rwp": Meter.WIRE,
        "rwn": Meter.WIRE,
        "rbp": Meter.WIRE,
        "rbn": Meter.WIRE,
    },
}
"""Meters of a cell's devices; a device that isn't named takes nothing.

What charges the capacitor of a hold comes out of its buffer's supply current.
"""

UPDATE_CELLS: Mapping[str, str] = {
    "update_hold": HOLDS,
    "update_modulator": MODULATORS,
    "update_multiplier": MULTIPLIERS,
}
"""Item of an update path that a cell's work is."""

COMMANDS = ("rst", "go")
"""Nodes of the testbench's sources that only say when the phases change."""
