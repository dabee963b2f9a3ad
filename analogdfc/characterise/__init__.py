"""What a designer asks of a cell: its data sheet and its technology card, from benches in ngspice.

A bench is a small circuit around one cell, and what is read of its answer. `characterise` runs all
benches of a cell under one set of conditions; `characterised` makes a card of what they found,
which every other part of the package takes.
"""

from collections.abc import Callable

from analogdfc.characterise.bench import Bench, Conditions
from analogdfc.characterise.card import characterised
from analogdfc.characterise.opamp import characterise_opamp
from analogdfc.characterise.sheet import Curve, Number, Sheet
from analogdfc.characterise.switching import characterise_hold, characterise_switch
from analogdfc.characterise.tanh import characterise_tanh
from analogdfc.errors import check_names
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import check_celsius

__all__ = ["CELLS", "Conditions", "Curve", "Number", "Sheet", "characterise", "characterised"]

CELLS: dict[str, tuple[str, Callable[[Bench], Sheet]]] = {
    "opamp": ("opamp", characterise_opamp),
    "tanh": ("tanh_cell", characterise_tanh),
    "switch": ("switch", characterise_switch),
    "hold": ("hold", characterise_hold),
}
"""The cells that there are benches for: the names of their subcircuits, and the benches."""


def characterise(
    cell: str, conditions: Conditions, simulator: Simulator, time_limit: float = 600.0
) -> Sheet:
    """The data sheet of a cell.

    Args:
        cell: a key of `CELLS`.
        conditions: process, temperature, loads and draws.
        simulator: ngspice, in one of its ways.
        time_limit: seconds that each simulation may take.

    Raises:
        UserError: an unknown cell, one that can't take its place or doesn't do what it is for, a
            temperature that a kit has no models for, a simulator without the analyses that this
            needs.
        ConvergenceError: a simulation that doesn't converge.

    >>> from analogdfc.cards import Card
    >>> from analogdfc.spice.engines import get_simulator
    >>> conditions = Conditions(Card.load("generic"))
    >>> sheet = characterise("opamp", conditions, get_simulator("batch"))
    >>> print(sheet.numbers["gain_no_load"].text, sheet.numbers["gain_no_load"].unit)
    81.66 dB
    """
    check_names([cell], CELLS, "cell")
    if conditions.kit is not None:
        check_celsius(conditions.celsius)
    name, benches = CELLS[cell]
    return benches(Bench(name, conditions, simulator, time_limit))
