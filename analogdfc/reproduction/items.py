"""An item: a table or figure of a paper that can be done again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analogdfc.errors import UserError
from analogdfc.jobs import Run
from analogdfc.reproduction.criterion import Row

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["PAPERS", "Findings", "Item", "Missing", "Scope", "done"]

PAPERS = {
    "dfc": "Meulemans et al., Credit Assignment in Neural Networks through Deep Feedback Control, "
    "NeurIPS 2021, main text and supplement",
    "tp": "Meulemans et al., A Theoretical Framework for Target Propagation, NeurIPS 2020",
    "di": "Podlaski and Machens, Biological credit assignment through dynamic inversion of "
    "feedforward networks, NeurIPS 2020",
    "fa": "Lillicrap et al., Random synaptic feedback weights support error backpropagation, "
    "Nature Communications 2016, supplement",
}
"""The papers, whose five texts have dfc's twice."""


@dataclass(frozen=True)
class Scope:
    """How much of an item is run.

    Attributes:
        quick: the short form.
        seeds: how many, from 0 on; None for as many as the paper's, or one in the short form.
        epochs: epochs of trainings; None for the paper's, or the fewest in the short form.
        rows: patterns of the rows wanted, such as 'fashion-mnist/*'; none for all.
        data: folder with the files of data sets, looked in first.
    """

    quick: bool = False
    _: KW_ONLY
    seeds: int | None = None
    epochs: int | None = None
    rows: tuple[str, ...] = ()
    data: Path | None = None


@dataclass(frozen=True)
class Missing:
    """What an item needs and isn't there.

    Attributes:
        what: the data set.
        instead: what stands in; empty where nothing does.
    """

    what: str
    instead: str = ""

    def __str__(self) -> str:
        """For people."""
        if self.instead:
            return f"{self.what} isn't there; {self.instead} stands in"
        return f"{self.what} isn't there"


Findings = Mapping[Run[Any], Any]
"""Results of the runs that are done; what a run raised, in its place, where it failed."""


@dataclass(frozen=True)
class Item(ABC):
    """A table or figure of a paper.

    Attributes:
        name: paper and item, such as 'dfc/table1'.
        title: what it shows.
    """

    name: str
    title: str

    @property
    def paper(self) -> str:
        """Key of `PAPERS`."""
        return self.name.partition("/")[0]

    def missing(self, scope: Scope) -> list[Missing]:
        """Data that it needs and that aren't there.

        Args:
            scope: how much is run.
        """
        return []

    @abstractmethod
    def runs(self, scope: Scope) -> list[Run[Any]]:
        """What must be run, the first seed first.

        Args:
            scope: how much.

        Raises:
            UserError: rows or settings that it hasn't; data that are missing without a stand-in.
        """

    @abstractmethod
    def seconds(self, scope: Scope) -> float:
        """What its runs take one after another, on one core; right to a factor of two or three.

        Args:
            scope: how much.
        """

    @abstractmethod
    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """Its table, from what is done.

        Args:
            scope: how much was to be run.
            found: results by run; those that aren't done are not in it.
        """

    @abstractmethod
    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Its figure; None where too little is done for one.

        Args:
            scope: how much was to be run.
            found: results by run.
        """


def done(runs: Sequence[Run[Any]], found: Findings) -> Iterator[Any]:
    """Results of those runs that are done and didn't fail.

    Args:
        runs: the runs.
        found: results by run.
    """
    for run in runs:
        if run in found and not isinstance(found[run], UserError):
            yield found[run]
