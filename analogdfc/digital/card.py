"""Published energy constants of digital machines: one source a file, every number with its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from analogdfc.cards.base import BaseCard
from analogdfc.cards.entries import Section, si
from analogdfc.digital._operations import Operations

EVALUATION = (1, 15)
"""Operations of one tanh: a table look-up; or (exp(2x) - 1) / (exp(2x) + 1) with 8 for the
exponential, 4 for the division and 3 more (weights of McMahon 1986, UCRL-53745)."""

Joule = Annotated[float, BeforeValidator(si("J")), Field(gt=0, le=1e-6)]
Watt = Annotated[float, BeforeValidator(si("W")), Field(gt=0, le=1e5)]
Byte = Annotated[float, BeforeValidator(si("byte")), Field(gt=0)]
BytePerSecond = Annotated[float, BeforeValidator(si("byte/s")), Field(gt=0)]
PerSecond = Annotated[float, BeforeValidator(si("1/s")), Field(gt=0)]


@dataclass(frozen=True)
class Band:
    """An energy and its spread: it is never known better than this.

    Attributes:
        low: least, in joules.
        high: most, in joules.
        reason: what lies between the two.
    """

    low: float
    high: float
    reason: str

    def scaled(self, factor: float) -> Band:
        """The energy of so many repetitions, or of such a share.

        Args:
            factor: how many repetitions, or which share, >= 0.
        """
        return Band(factor * self.low, factor * self.high, self.reason)


class Constants(ABC):
    """Energy of operations in one number format of one source.

    Attributes:
        name: machine and number format.
        source: citation.
        bits: length of a number.
    """

    name: str
    source: str
    bits: int

    @abstractmethod
    def energy(self, operations: Operations) -> Band:
        """Energy of operations, in joules."""


class Arithmetic(Section):
    """Section [[arithmetic]]: energy of single operations in a number format.

    Attributes:
        format: name of the format.
        bits: length of a number.
        add: an addition.
        multiply: a multiplication.
    """

    format: str = Field(min_length=1)
    bits: int = Field(ge=1, le=128)
    add: Joule
    multiply: Joule


class Sram(Section):
    """Section [[sram]]: a memory on the chip.

    Attributes:
        size: its size, in bytes.
        access: energy of reading or writing 64 bits.
    """

    size: Byte
    access: Joule


class Dram(Section):
    """Section [dram]: memory beside the chip, energy of reading or writing 64 bits.

    Attributes:
        least: lowest published figure.
        most: highest.
    """

    least: Joule
    most: Joule


class ProcessorSection(Section):
    """Section [processor]: a whole processor.

    Attributes:
        power: its rated power.
        bandwidth: of its main memory.
    """

    power: Watt
    bandwidth: BytePerSecond


class Peak(Section):
    """Section [[peak]]: highest rates in a number format; a multiply-accumulate is two operations.

    Attributes:
        format: name of the format.
        bits: length of a number.
        matrix: rate of matrix products.
        vector: rate of other operations.
    """

    format: str = Field(min_length=1)
    bits: int = Field(ge=1, le=128)
    matrix: PerSecond
    vector: PerSecond


@dataclass(frozen=True)
class Gates(Constants):
    """Operations and memory accesses added up, nothing else: no control, clock or leakage.

    Attributes:
        name: see `Constants`, as of the next two.
        source: citation.
        bits: length of a number.
        arithmetic: operations in this format.
        sram: memories on the chip, smallest first.
        dram: memory beside it.
    """

    name: str
    source: str
    bits: int
    arithmetic: Arithmetic
    sram: tuple[Sram, ...]
    dram: Dram

    def energy(self, operations: Operations) -> Band:
        """Operations, and every operand from SRAM (low) or from DRAM (high), in joules.

        The SRAM is the smallest that holds all that stays in memory, or banks of the largest.
        """
        add, multiply = sorted((self.arithmetic.add, self.arithmetic.multiply))
        macs = (operations.macs + operations.solves) * (add + multiply)
        table, formula = EVALUATION
        least = macs + (operations.flops + table * operations.evaluations) * add
        most = macs + (operations.flops + formula * operations.evaluations) * multiply
        needed = operations.resident * self.bits / 8
        memory = next((m for m in self.sram if m.size >= needed), self.sram[-1])
        access = self.bits / 64
        inside = (operations.words - operations.samples) * memory.access
        low = least + access * (inside + operations.samples * self.dram.least)
        return Band(
            low,
            most + access * operations.words * self.dram.most,
            f"low: weights and state in SRAM of {memory.size / 1024:g} KiB, samples from DRAM at "
            f"{self.dram.least * 1e9:g} nJ per 64 bit, a tanh is one addition; high: all operands "
            f"of every product from DRAM at {self.dram.most * 1e9:g} nJ, a tanh is {formula} "
            "multiplications",
        )


@dataclass(frozen=True)
class Processor(Constants):
    """A processor at its rated power for as long as its peak rates need.

    Attributes:
        name: see `Constants`, as of the next two.
        source: citation.
        bits: length of a number.
        processor: power and memory.
        peak: rates in this format.
    """

    name: str
    source: str
    bits: int
    processor: ProcessorSection
    peak: Peak

    def energy(self, operations: Operations) -> Band:
        """Rated power times the shortest time (low) or the roofline's (high), in joules.

        Williams, Waterman and Patterson 2009: the roofline is the later of arithmetic and memory.
        Neither counts what small matrices leave idle: a measured figure lies above.
        """
        table, formula = EVALUATION
        products = 2 * operations.macs / self.peak.matrix
        solves = 2 * operations.solves / self.peak.vector
        other = solves + (operations.flops + table * operations.evaluations) / self.peak.vector
        slow = solves + (operations.flops + formula * operations.evaluations) / self.peak.vector
        per_word = self.bits / 8 / self.processor.bandwidth
        least = max(products, other, operations.samples * per_word)
        most = max(products + slow, operations.words * per_word)
        bound = "memory" if most > products + slow else "arithmetic"
        return Band(
            self.processor.power * least,
            self.processor.power * most,
            "low: rated power over peak rate, only samples from memory; high: all operands of "
            f"every product from memory, where {bound} is the limit. Both are floors: launches and "
            "idle units come on top",
        )


class DigitalCard(BaseCard):
    """A published source of energy constants; values in SI units.

    >>> card = DigitalCard.load("horowitz2014")
    >>> [constants.name for constants in card.constants()]
    ['Horowitz 2014, 45 nm, int8', 'Horowitz 2014, 45 nm, fp16', 'Horowitz 2014, 45 nm, fp32']
    """

    kind: ClassVar[str] = "digital"
    of: ClassVar[str] = "a digital machine"
    what: ClassVar[str] = "digital card"
    file: ClassVar[str] = "digital card"
    folder: ClassVar[str] = "digital"

    arithmetic: tuple[Arithmetic, ...] = ()
    sram: tuple[Sram, ...] = ()
    dram: Dram | None = None
    processor: ProcessorSection | None = None
    peak: tuple[Peak, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> DigitalCard:
        gates = (bool(self.arithmetic), bool(self.sram), self.dram is not None)
        machine = (self.processor is not None, bool(self.peak))
        if not (all(gates) and not any(machine)) and not (all(machine) and not any(gates)):
            raise ValueError(
                "either [[arithmetic]], [[sram]] and [dram], or [processor] and [[peak]] are needed"
            )
        return self

    def constants(self) -> tuple[Constants, ...]:
        """The constants of every number format of this source."""
        name, source = self.card.name, self.card.source
        found: list[Constants] = []
        if self.dram is not None:
            sram = tuple(sorted(self.sram, key=lambda memory: memory.size))
            for a in self.arithmetic:
                found.append(Gates(f"{name}, {a.format}", source, a.bits, a, sram, self.dram))
        if self.processor is not None:
            for p in self.peak:
                found.append(Processor(f"{name}, {p.format}", source, p.bits, self.processor, p))
        return tuple(found)


def builtin_digital_cards() -> tuple[str, ...]:
    """Names of the digital cards that come with the package."""
    return DigitalCard.builtin()
