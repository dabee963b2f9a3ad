"""A test circuit for one cell: its supplies, its models, and the analyses that are run of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Literal

from analogdfc.cards.technology import Card
from analogdfc.circuit.scaling import ABSOLUTE_ZERO
from analogdfc.errors import UserError
from analogdfc.kits import Kit
from analogdfc.spice.library import Library, lone_cell
from analogdfc.spice.own import Own
from analogdfc.spice.simulator import Simulator, Sweep, Waveforms
from analogdfc.spice.writer import card_parameters, number

__all__ = ["Bench", "Conditions"]

_HOTTEST = 1000.0


@dataclass(frozen=True)
class Conditions:
    """Under which a cell is characterised.

    Attributes:
        card: the technology: supply, scales, and the numbers of macro cells.
        kit: the process whose transistors the cell has; None for a macro cell.
        celsius: temperature, in degrees Celsius.
        own: files by the name of the cell whose place they take.
        load: resistance at an amplifier's output, in ohms, > 0.
        load_capacitance: beside it, in farads, >= 0.
        heavy_load: resistance of a heavy load, at which the swing is measured, in ohms, > 0.
        draws: copies of the cell that are drawn for its mismatch; 0 for none.
        seed: of the draws.

    Raises:
        UserError: a temperature, a load or a number of draws out of its range.
    """

    card: Card
    kit: Kit | None = None
    _: KW_ONLY
    celsius: float = 27.0
    own: Own = field(default_factory=dict)
    load: float = 100e3
    load_capacitance: float = 1e-12
    heavy_load: float = 16e3
    draws: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        if not ABSOLUTE_ZERO < self.celsius < _HOTTEST:
            raise UserError(
                f"celsius = {self.celsius:g}: a temperature above {ABSOLUTE_ZERO:g} and below "
                f"{_HOTTEST:g} degrees is needed"
            )
        if not (self.load > 0 and self.heavy_load > 0 and self.load_capacitance >= 0):
            raise UserError(
                f"load = {self.load:g} ohm, heavy_load = {self.heavy_load:g} ohm, "
                f"load_capacitance = {self.load_capacitance:g} F: resistances must be > 0, the "
                "capacitance >= 0"
            )
        if self.draws < 0 or self.draws == 1:
            raise UserError(f"draws = {self.draws}: a spread needs at least 2, or 0 for none")

    @property
    def about(self) -> str:
        """What they are, for people."""
        process = f"macro cells, card {self.card.card.name}" if self.kit is None else self.kit.about
        own = "".join(f", own {name}" for name in self.own)
        return f"{process}{own}, {self.celsius:g} C"

    @property
    def short(self) -> str:
        """The same for the head of a table."""
        if self.kit is None:
            return f"macro\n\n{self.celsius:g} C"
        return f"{self.kit.name}\n{self.kit.corner}\n{self.celsius:g} C"


class Bench:
    """Runs test circuits of a cell.

    Args:
        cell: name of its subcircuit.
        conditions: under which it is tested.
        simulator: runs them.
        time_limit: seconds that each may take.

    Raises:
        UserError: a cell that there isn't, or that has other pins than it must have.
    """

    def __init__(
        self, cell: str, conditions: Conditions, simulator: Simulator, time_limit: float = 600.0
    ) -> None:
        self.cell, self.conditions = cell, conditions
        self._simulator, self._time_limit = simulator, time_limit
        self._level = "macro" if conditions.kit is None else "transistor"
        self._cells = {False: self._library(conditions.kit)}
        self._made: dict[str, None] = {}

    def _library(self, kit: Kit | None) -> Library:
        c = self.conditions
        values = card_parameters(c.card, self._level, c.card.scale.time)
        lines = [f".param {name}={number(value)}" for name, value in values.items()]
        found = lone_cell(self.cell, c.card, self._level, c.own, kit)
        return found._replace(text="\n".join([*lines, found.text]))

    @property
    def made_by(self) -> str:
        """Simulator, version and solver of all runs until now."""
        return "; ".join(self._made)

    @property
    def drawn(self) -> int:
        """Copies that are drawn: none of cells without mismatch."""
        return 0 if self.conditions.kit is None else self.conditions.draws

    def _deck(self, lines: Sequence[str], analysis: str, mismatch: bool) -> str:
        c = self.conditions
        if mismatch and mismatch not in self._cells and c.kit is not None:
            self._cells[mismatch] = self._library(type(c.kit)(c.kit.corner, mismatch=True))
        supply = number(c.card.amplifier.supply)
        return "\n".join(
            [
                f"* {self.cell}, {' '.join(c.about.split())}",
                self._cells[mismatch].text,
                f"Vdd vdd 0 {supply}",
                f"Vss vss 0 -{supply}",
                *lines,
                *([f".options seed={c.seed}"] if mismatch else []),
                ".options gmin=1e-15 abstol=1e-15 vntol=1e-9 reltol=1e-5",
                f".options temp={number(c.celsius)} tnom=27 method=trap maxord=2",
                analysis,
                ".end",
                "",
            ]
        )

    def sweep(
        self,
        analysis: Literal["op", "dc", "ac", "noise"],
        lines: Sequence[str],
        card: str,
        save: Sequence[str],
        *,
        mismatch: bool = False,
    ) -> Sweep:
        """Run an analysis of a test circuit.

        Args:
            analysis: which.
            lines: the circuit beside the supplies vdd and vss.
            card: the line that asks for the analysis.
            save: what it returns.
            mismatch: whether every transistor is drawn.

        Raises:
            UserError: what `Simulator.analyse` raises; the message has the cell.
            ConvergenceError: the same.
        """
        with self._named():
            deck = self._deck(lines, card, mismatch)
            found = self._simulator.analyse(
                deck, analysis=analysis, save=save, time_limit=self._time_limit,
                modules=self._cells[False].modules,
            )  # fmt: skip
        self._made[found.made_by] = None
        return found

    def transient(
        self, lines: Sequence[str], stop: float, longest: float, save: Sequence[str]
    ) -> Waveforms:
        """Run a transient analysis of a test circuit.

        Args:
            lines: the circuit beside the supplies vdd and vss.
            stop: its end, in seconds.
            longest: longest time step, in seconds.
            save: what it returns.

        Raises:
            UserError: what `Simulator.run` raises; the message has the cell.
            ConvergenceError: the same.
        """
        card = f".tran {number(longest)} {number(stop)} 0 {number(longest)}"
        with self._named():
            deck = self._deck(lines, card, mismatch=False)
            modules = self._cells[False].modules
            found = self._simulator.run(
                deck, save=save, time_limit=self._time_limit, modules=modules
            )
        self._made[found.made_by] = None
        return found

    def at(self, celsius: float) -> Bench:
        """The same at another temperature.

        Args:
            celsius: in degrees Celsius.
        """
        conditions = replace(self.conditions, celsius=celsius)
        return Bench(self.cell, conditions, self._simulator, self._time_limit)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            file = self.conditions.own.get(self.cell)
            where = f"{file}: " if file else ""
            raise type(error)(f"{where}cell {self.cell}: {error}") from error
