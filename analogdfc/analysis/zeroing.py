"""What the auto-zero of neurons' amplifiers and tanh cells takes: energy and area."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from analogdfc.analysis.energy.items import AUTO_ZERO, Energy
from analogdfc.cards.technology import Card
from analogdfc.circuit.description import Description

__all__ = ["zero_areas", "zero_energy", "zero_seconds"]


def _zeroed(circuit: Description) -> Mapping[str, int]:
    """Numbers of amplifiers and tanh cells with an auto-zero of their own, by part."""
    found: dict[str, int] = {}
    for bank in circuit.banks:
        if bank.self_zeroed:
            found[bank.part] = found.get(bank.part, 0) + bank.size
    for cells in circuit.cells:
        if cells.self_zeroed:
            found[cells.part] = found.get(cells.part, 0) + len(cells.offset)
    return found


def zero_seconds(card: Card) -> float:
    """Time of the phase before each sample; 0 without an auto-zero.

    Args:
        card: the technology.
    """
    return card.auto_zero.time or 0.0


def zero_energy(circuit: Description, card: Card) -> Energy:
    """Energy of the switches of one phase; the amplifiers' own supply is not in it.

    The gates of the switches are charged from one supply to the other once.

    Args:
        circuit: the circuit.
        card: its technology.

    Returns:
        Parts 'layer 1'..'layer L', tensors of shape (1,), or the item unknown where the card lacks
        a key; nothing without an auto-zero.
    """
    counts, gate = _zeroed(circuit), card.auto_zero.clock
    if counts and gate is None:
        return Energy({}, {AUTO_ZERO: "[auto_zero] clock is missing"})
    each = (gate or 0.0) * (2 * card.amplifier.supply) ** 2
    return Energy(
        {
            (AUTO_ZERO, part): torch.tensor([n * each], dtype=torch.float64)
            for part, n in counts.items()
        }
    )


def zero_areas(circuit: Description, card: Card) -> Iterator[tuple[str, float | None, str]]:
    """Area of capacitors and switches by part, in square metres.

    Args:
        circuit: the circuit.
        card: its technology.

    Yields:
        Part, area, and what the card lacks where the area is None.
    """
    zero, density = card.auto_zero, card.area.capacitor_density
    lacks = ["[area] capacitor_density"] if density is None else []
    lacks += ["[auto_zero] area"] if zero.area is None else []
    for part, n in _zeroed(circuit).items():
        if density is None or zero.area is None or zero.capacitor is None:
            yield part, None, " and ".join(lacks)
        else:
            yield part, n * (zero.capacitor / density + zero.area), ""
