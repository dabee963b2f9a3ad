"""What a design is made of: what the options say, else what a record says of its chip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
from click.core import ParameterSource

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.circuit.devices import Devices
from analogdfc.cli._design import Switches, read_card, read_devices
from analogdfc.cli._options import SEED
from analogdfc.errors import UserError


class Given(NamedTuple):
    """What a design is made of, beside its network.

    Attributes:
        card: the technology.
        seeds: of the inputs, and of the chip.
        switches: how the design uses its window and is read.
        devices: of the crossbars; None for what the card says.
        note: what comes from a record, for people, behind what the network is; may be empty.
    """

    card: Card
    seeds: tuple[int, int]
    switches: Switches
    devices: Devices | None
    note: str = ""


def learned_on(weights: Path | None) -> Path | None:
    """The file of a network, where it learned through a chip; else None."""
    if weights is None:
        return None
    kept = records.read(weights, "card")
    return weights if "card" in kept and "training" in kept else None


def given(
    record: Path | None,
    card: str,
    seeds: tuple[int, int | None],
    switches: Switches,
    devices: str | None = None,
    age: float = 0.0,
    *,
    on_devices: bool = True,
) -> Given:
    """The options, with what the record of a chip says in place of defaults.

    Args:
        record: the file; None for options alone.
        card: name or path of the technology card.
        seeds: of the inputs, and of the chip where it has its own.
        switches: of the design.
        devices: name or path of the device card; None for none.
        age: of the devices, in seconds.
        on_devices: whether the command knows devices; without, those of a record are left out.
    """
    seed, chip = seeds
    if record is None:
        drawn = (seed, seed if chip is None else chip)
        return Given(read_card(card), drawn, switches, read_devices(devices, age))
    kept = records.read(record, "card", "devices", "readout", "seed", "chip_seed")
    context = click.get_current_context()

    def silent(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.DEFAULT

    technology = read_card(card)
    if silent("card") and "card" in kept:
        technology = Card.parse(kept.text("card"), f"the card in {record}")
    if chip is None and silent("seed") and "chip_seed" in kept:
        chip = _seed(kept, "chip_seed")
    if silent("seed") and "seed" in kept:
        seed = _seed(kept, "seed")
    said = {
        name: kept.truth(f"readout/{name}")
        for name in ("double_sampling", "auto_zero", "relative_target")
        if silent(name) and f"readout/{name}" in kept
    }
    own = Devices.read(kept)
    made_of = own if on_devices and silent("devices") else None
    if made_of is None:
        made_of = read_devices(devices, age)
    elif not silent("age"):
        made_of = replace(made_of, age=age)
    # Before chips had a seed of their own, it was the other.
    drawn = (seed, seed if chip is None else chip)
    note = ""
    if silent("card") and "card" in kept and (not on_devices or silent("devices")):
        how = ", its devices programmed anew" if on_devices else ", without its devices"
        note = f", on the chip of {record}{how if own is not None else ''}"
    return Given(technology, drawn, replace(switches, **said), made_of, note)


def _seed(kept: records.Record, name: str) -> int:
    """A seed of a record, in the range that options have."""
    seed = kept.integer(name)
    if not 0 <= seed <= SEED.most:
        raise UserError(f"{kept.path}: '{name}' is {seed}; a seed is 0 to {SEED.most}")
    return seed
