"""Area of a chip, estimated from its technology card."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from analogdfc.analysis.energy.items import AUTO_ZERO
from analogdfc.analysis.zeroing import zero_areas
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description
from analogdfc.circuit.design import Design
from analogdfc.updating.costs import UPDATE_COMPONENTS, area_items, no_path

DEVICES = "devices"
AMPLIFIERS = "amplifiers"
TANH_CELLS = "tanh cells"
CAPACITORS = "capacitors"
RESISTORS = "resistors"
AREA_COMPONENTS = (
    DEVICES,
    AMPLIFIERS,
    TANH_CELLS,
    CAPACITORS,
    RESISTORS,
    AUTO_ZERO,
    *UPDATE_COMPONENTS,
)
"""Names of the items, in the order of a table."""

NOTE = (
    "an estimate from the card: components side by side, without routing, bias circuits, pads, "
    "switches, track-and-hold and converters, but for those that the card describes"
)

_KEYS = {
    DEVICES: "device",
    AMPLIFIERS: "amplifier",
    TANH_CELLS: "tanh",
    CAPACITORS: "capacitor_density",
    RESISTORS: "resistor_density",
}


@dataclass(frozen=True)
class AreaEstimate:
    """Area by component and part; an estimate, see `note`.

    Attributes:
        items: square metres by component (of `AREA_COMPONENTS`) and part ('layer 1'..'layer L',
            'controller').
        unknown: components that can't be told, with what the card lacks for each; they are not in
            the total.
        note: what the estimate leaves out.
    """

    items: Mapping[tuple[str, str], float]
    unknown: Mapping[str, str] = field(default_factory=dict)
    note: str = NOTE

    @property
    def total(self) -> float:
        """Sum of the known items, in square metres."""
        return sum(self.items.values())

    def by_component(self) -> dict[str, float]:
        """Square metres of each known component over all parts, in the order of a table."""
        found = [c for c in AREA_COMPONENTS if any(c == name for name, _ in self.items)]
        return {c: sum(a for (name, _), a in self.items.items() if name == c) for c in found}

    def by_part(self) -> dict[str, float]:
        """Square metres of each part over all known components."""
        parts = dict.fromkeys(part for _, part in self.items)
        return {p: sum(a for (_, part), a in self.items.items() if part == p) for p in parts}


def area(design: Design, chips: Sequence[Chip] | None = None) -> AreaEstimate:
    """Area of the components of a design, from section [area] of its card: an estimate.

    Devices: two per weight, bias row and feedback weight. Capacitors: C_f of the somas, C_i of the
    integrators, compensation. Resistors: all around the amplifiers, and the leaks. Values are
    nominal, of `Chip.of(design)`; routing, bias circuits, pads, switches, track-and-hold and
    converters are not in it.

    Args:
        design: the design.
        chips: its circuits; by default the one of `Chip.of(design)`.

    Returns:
        Square metres; a component for which the card has no number is unknown.
    """
    section = design.card.area
    values = {name: getattr(section, key) for name, key in _KEYS.items()}
    unknown: dict[str, str] = {}
    items: dict[tuple[str, str], float] = {}
    chips = chips or [Chip.of(design)]
    for part, amounts in _amounts(chips).items():
        for component, amount in amounts.items():
            value = values[component]
            if amount == 0:
                continue
            if value is None:
                unknown[component] = f"[area] {_KEYS[component]} is missing"
                continue
            dense = component in (CAPACITORS, RESISTORS)
            items[component, part] = amount / value if dense else amount * value
    for chip in chips:
        for part, metres, lacks in zero_areas(chip.circuit, design.card):
            if metres is None:
                unknown[AUTO_ZERO] = f"{lacks} is missing"
            else:
                items[AUTO_ZERO, part] = items.get((AUTO_ZERO, part), 0.0) + metres
    paths = [chip.circuit.update for chip in chips if chip.circuit.update is not None]
    for component, part, metres, lacks in itertools.chain(*map(area_items, paths)):
        if metres is None:
            unknown[component] = f"{lacks} is missing"
        else:
            items[component, part] = metres
    known = {c: unknown[c] for c in AREA_COMPONENTS if c in unknown}
    return AreaEstimate(items, known if paths else known | no_path())


def _amounts(chips: Sequence[Chip]) -> dict[str, dict[str, float]]:
    """Numbers, farads and ohms of the components of each part."""
    parts = dict.fromkeys(part for chip in chips for part in chip.circuit.parts)
    amounts = {part: dict.fromkeys(_KEYS, 0.0) for part in parts}
    for chip in chips:
        _count(chip.circuit, amounts)
    return amounts


def _count(circuit: Description, amounts: dict[str, dict[str, float]]) -> None:
    """Add the components of a circuit."""

    def add(part: str, component: str, amount: float | Tensor) -> None:
        amounts[part][component] += float(amount)

    for crossbar in circuit.crossbars:
        add(crossbar.part, DEVICES, crossbar.plus.numel() + crossbar.minus.numel())
    for bank in circuit.banks:
        add(bank.part, AMPLIFIERS, bank.size)
    for cells in circuit.cells:
        add(cells.part, TANH_CELLS, len(cells.offset))
    for c in circuit.capacitors:
        if not c.line:  # of the lines a device has its share
            add(c.part, CAPACITORS, c.farads.sum())
    for r in circuit.resistors:
        if r.b is not None:  # a load to ground is inside a cell
            add(r.part, RESISTORS, (1 / r.siemens[r.siemens > 0]).sum())
    for branch in circuit.branches:
        add(branch.part, CAPACITORS, branch.farads.sum())
        leaks = branch.leak[branch.leak > 0]
        add(branch.part, RESISTORS, branch.ohms.sum() + (1 / leaks).sum())
