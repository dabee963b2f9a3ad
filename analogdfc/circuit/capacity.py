"""How much memory the behavioural model takes, asked before it is taken."""

from __future__ import annotations

from analogdfc.memory import check_memory

__all__ = ["UNKNOWNS", "check_equations", "check_modes", "check_solving"]

UNKNOWNS = 4
"""Unknowns of an amplifier in the full model."""

_OF_A_CHIP = 4
"""Numbers that its equations and their factors take, by the square of its amplifiers; a bound for
crossbars with wires, measured, as are the next two."""

_OF_AN_UNKNOWN = 600
_OF_A_STATE = 40
"""Numbers that the cells of a chip take, and a step of one sample, by the unknowns."""


def check_equations(amplifiers: int, chips: int) -> None:
    """Make sure that there is memory for the equations of chips and their factors.

    Args:
        amplifiers: of a chip.
        chips: how many run together.

    Raises:
        UserError: there isn't.
    """
    check_memory(
        _OF_A_CHIP * chips * amplifiers**2,
        f"the equations of {amplifiers} amplifiers, {chips} chips,",
        "A smaller network needs less",
    )


def check_solving(unknowns: int, chips: int, samples: int) -> None:
    """Make sure that there is memory for the steps of several runs at a time.

    Args:
        unknowns: of the equations; of the full model `UNKNOWNS` an amplifier.
        chips: how many run together.
        samples: of each.

    Raises:
        UserError: there isn't.
    """
    check_memory(
        chips * unknowns * (_OF_AN_UNKNOWN + _OF_A_STATE * samples),
        f"solving {unknowns} equations at a time for {samples} samples of {chips} chips",
        "Fewer samples or a smaller network need less",
    )


def check_modes(unknowns: int, chips: int, samples: int) -> None:
    """Make sure that there is memory for the eigenvalues of several runs.

    Args:
        unknowns: of the equations.
        chips: how many run together.
        samples: of each.

    Raises:
        UserError: there isn't.
    """
    check_memory(
        4 * chips * samples * unknowns**2,
        f"the dense linear equations of {unknowns} unknowns for {samples} samples of {chips} chips",
        "Fewer samples or a smaller network need less; 'analysis.settling' finds the slowest modes "
        "of large ones",
    )
