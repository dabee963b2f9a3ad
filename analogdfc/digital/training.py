"""The digital baseline: operations, bytes and energy of the same training on a CPU or GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analogdfc.digital._operations import COUNTS, Operations, operations
from analogdfc.digital.card import (
    Band,
    Constants,
    DigitalCard,
    builtin_digital_cards,
)
from analogdfc.errors import UserError

__all__ = [
    "COUNTS",
    "DIGITAL_COLUMNS",
    "Band",
    "Operations",
    "Row",
    "band_text",
    "baseline",
    "digital_cells",
    "digital_energy",
    "engineering",
    "operations",
    "sources",
    "spread",
    "training",
]


def digital_energy(operations: Operations, constants: Constants) -> Band:
    """Energy of operations by the constants of one source, in joules, with its spread.

    Low and high differ in where the operands come from: from SRAM or registers, or all of them from
    main memory for every kernel; see `Band.reason`.

    Args:
        operations: what is done.
        constants: of one machine and format.
    """
    return constants.energy(operations)


def training(
    sizes: Sequence[int],
    rule: str,
    samples: int,
    epochs: int = 1,
    *,
    batch: int = 32,
    steps: int = 1000,
    iterations: int = 6,
    jacobians: int = 1,
    optimizer: str = "sgd",
) -> Operations:
    """Operations of a whole training; the last minibatch of an epoch may be smaller.

    Args:
        sizes: neurons of layers 0..L.
        rule: one of `COUNTS`.
        samples: samples of an epoch, >= 1.
        epochs: epochs, >= 1.
        batch: as `operations`, as all that follow.
        steps: time steps.
        iterations: Newton steps.
        jacobians: derivatives.
        optimizer: optimiser.

    Raises:
        UserError: a value that isn't positive, or as `operations`.
    """
    if samples < 1 or epochs < 1:
        raise UserError(f"samples = {samples}, epochs = {epochs}: both must be >= 1")

    def one(count: int) -> Operations:
        return operations(
            sizes,
            rule,
            count,
            steps=steps,
            iterations=iterations,
            jacobians=jacobians,
            optimizer=optimizer,
        )

    whole, left = divmod(samples, batch) if batch >= 1 else (1, 0)
    epoch = one(batch).repeated(whole)
    if left:
        epoch += one(left)
    return epoch.repeated(epochs)


@dataclass(frozen=True)
class Row:
    """A training on one machine in one number format.

    Attributes:
        rule: the learning rule.
        machine: machine and number format.
        source: citation of its constants, or what it was measured with.
        samples: samples seen, over all epochs.
        operations: what was done.
        bytes: bytes read and written in this format where nothing stays on the chip.
        energy: of the whole training, in joules.
    """

    rule: str
    machine: str
    source: str
    samples: int
    operations: Operations
    bytes: int
    energy: Band

    @property
    def per_sample(self) -> Band:
        """Energy of one sample, in joules."""
        return self.energy.scaled(1 / self.samples)


def baseline(
    sizes: Sequence[int],
    rules: Sequence[str] = tuple(COUNTS),
    samples: int = 1,
    epochs: int = 1,
    *,
    batch: int = 32,
    steps: int = 1000,
    iterations: int = 6,
    jacobians: int = 1,
    optimizer: str = "sgd",
    cards: Sequence[DigitalCard] | None = None,
) -> list[Row]:
    """The same training by every rule on every machine.

    Args:
        sizes: neurons of layers 0..L.
        rules: names, of `COUNTS`.
        samples: as `training`, as all that follow.
        epochs: epochs.
        batch: samples of a minibatch.
        steps: time steps.
        iterations: Newton steps.
        jacobians: derivatives.
        optimizer: optimiser.
        cards: sources of constants; by default all that come with the package.

    Returns:
        One row for each rule and number format of each source, rule by rule.

    Raises:
        UserError: as `training`.
    """
    if cards is None:
        cards = [DigitalCard.load(name) for name in builtin_digital_cards()]
    machines = [constants for card in cards for constants in card.constants()]
    rows = []
    for rule in rules:
        done = training(
            sizes,
            rule,
            samples,
            epochs,
            batch=batch,
            steps=steps,
            iterations=iterations,
            jacobians=jacobians,
            optimizer=optimizer,
        )
        for c in machines:
            energy = digital_energy(done, c)
            seen = samples * epochs
            rows.append(Row(rule, c.name, c.source, seen, done, done.bytes(c.bits), energy))
    return rows


DIGITAL_COLUMNS = (
    "rule",
    "operations\na sample",
    "machine, format",
    "bytes\na sample",
    "energy a sample",
    "energy of the training",
)
"""Heads of the columns of `digital_cells`."""


def digital_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Cells of a table, of `DIGITAL_COLUMNS`; energies from the least to the most.

    Args:
        rows: the rows.
    """
    return [
        (
            row.rule,
            engineering(row.operations.total / row.samples),
            row.machine,
            engineering(row.bytes / row.samples, "B"),
            band_text(row.per_sample),
            band_text(row.energy),
        )
        for row in rows
    ]


def spread(rows: Sequence[Row]) -> Band:
    """Energy of a sample over all machines and formats of some rows, in joules.

    Args:
        rows: the rows.

    Raises:
        UserError: no rows.
    """
    if not rows:
        raise UserError("no rows: an energy needs at least one source")
    low = min(rows, key=lambda row: row.per_sample.low)
    high = max(rows, key=lambda row: row.per_sample.high)
    reason = f"low: {low.machine}; high: {high.machine}"
    return Band(low.per_sample.low, high.per_sample.high, reason)


def sources(rows: Sequence[Row]) -> list[str]:
    """One line a source of the rows' constants, with its machine.

    Args:
        rows: the rows.
    """
    found = {row.source: row.machine.rpartition(",")[0] for row in rows}
    return [f"{machine}: {source}" for source, machine in found.items()]


def engineering(value: float, unit: str = "", digits: int = 3) -> str:
    """A number with few digits and the prefix of its unit: 0.00123 J is '1.23 mJ'."""
    if value == 0:
        return f"0 {unit}".strip()
    prefixes = {-5: "f", -4: "p", -3: "n", -2: "u", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
    power = math.floor(math.log10(abs(value)) / 3)
    # 999.7 would be written as 1e+03 in three digits.
    if abs(float(f"{value:.{digits}g}")) >= 1000 ** (power + 1):
        power += 1
    power = min(max(power, min(prefixes)), max(prefixes))
    return f"{value / 1000.0**power:.{digits}g} {prefixes[power]}{unit}".strip()


def band_text(band: Band) -> str:
    """A band of joules, from the least to the most."""
    return f"{engineering(band.low, 'J')} .. {engineering(band.high, 'J')}"
