"""Figures of pictures from trained networks: outputs of autoencoders, and receptive fields.

Figure S14 of Meulemans et al. 2021, and figure S5 of Lillicrap et al. 2016.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import UserError
from analogdfc.jobs import Run
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.costs import cost_of
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Item, Missing, Scope
from analogdfc.reproduction.scoping import chosen, cut, refuse_missing, taken, training
from analogdfc.reproduction.training import Course, TrainingRun

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["FieldsFigure", "ImagesFigure"]

_SHOWN = 10
_FIELDS = 100
"""Neurons whose weights are kept, as many as the paper shows."""

_GROWN = 0.1
_GOOD, _BAD = ("bp", "dfc-ssa"), ("dfc-ssa-fixed", "dfa")
_HALF = 0.5
"""Of the squared error of the bad, what the good leave at most; the paper has words only."""


@dataclass(frozen=True)
class PicturesFigure(Item):
    """Pictures from a training of each method.

    Attributes:
        column: the experiment; its values mean nothing here.
        methods: what is trained, by name.
    """

    _: KW_ONLY
    column: Column
    methods: Mapping[str, Method]

    def missing(self, scope: Scope) -> list[Missing]:
        """See `Item.missing`."""
        name = self.column.dataset
        found = taken(name, scope)
        return [] if found == name else [Missing(name, found or "")]

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """See `Item.runs`."""
        refuse_missing(self.name, self.missing(scope))
        return [run for runs in self._runs(scope).values() for run in runs]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        trainings = [run for runs in self._runs(scope).values() for run in runs]
        return sum(run.seconds(cost_of(run.preset, run.rule)) for run in trainings)

    def _runs(self, scope: Scope) -> dict[str, list[TrainingRun]]:
        return {
            name: [
                self._training(self.methods[name], scope, seed) for seed in range(scope.seeds or 1)
            ]
            for name in chosen(self.name, [*self.methods], scope)
        }

    def _done(self, scope: Scope, found: Findings) -> dict[str, list[Course]]:
        """Trainings that are done, by method."""
        done = {
            name: [found[r] for r in runs if r in found and not isinstance(found[r], UserError)]
            for name, runs in self._runs(scope).items()
        }
        return {name: courses for name, courses in done.items() if courses}

    @abstractmethod
    def _training(self, method: Method, scope: Scope, seed: int) -> TrainingRun:
        """The training of a method, which keeps the pictures."""


@dataclass(frozen=True)
class ImagesFigure(PicturesFigure):
    """Test images beside the outputs of trained autoencoders."""

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`."""
        done = self._done(scope, found)
        if not done:
            return []
        losses = {
            name: [c.history[-1].test.loss / c.outputs for c in courses]
            for name, courses in done.items()
        }
        good = [loss for name in _GOOD for loss in losses.get(name, [])]
        bad = [loss for name in _BAD for loss in losses.get(name, [])]
        why = cut(self.column, scope)
        if not why and not (good and bad):
            why = "needs methods of both kinds"
        says = (
            "BP and DFC with trained feedback reproduce the images, DFA and DFC with fixed "
            f"feedback do not: the former leave less than {_HALF:.0%} of the latter's squared "
            "error (test, mean over outputs)"
        )
        return [statement(says, "1", losses, [None if why else max(good) < _HALF * min(bad)], why)]

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Images of the first seed; see `Item.draw`."""
        from analogdfc.reproduction.curves import image_rows  # drawing takes long to import

        done = self._done(scope, found)
        rows = {name: c[0].images for name, c in done.items() if c[0].images is not None}
        if not rows:
            return None
        pictures = {"input": next(iter(rows.values()))[0], **{n: i[1] for n, i in rows.items()}}
        return image_rows({name: _squares(rows) for name, rows in pictures.items()}, self.title)

    def _training(self, method: Method, scope: Scope, seed: int) -> TrainingRun:
        return training(self.column, method, scope, seed, shown=_SHOWN)


@dataclass(frozen=True)
class FieldsFigure(PicturesFigure):
    """Weights of neurons of the first layer, before learning and after it."""

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`."""
        done = self._done(scope, found)
        numbers: dict[str, list[float]] = {}
        for name, courses in done.items():
            pairs = [c.images for c in courses if c.images is not None]
            for k, when in enumerate(("before", "after")):
                numbers[f"{name}, {when}"] = [_smoothness(pair[k]) for pair in pairs]
        if not numbers:
            return []
        grown = [
            min(
                numbers[f"{name}, after"][k] - numbers[f"{name}, before"][k]
                for name in done
                if k < len(numbers[f"{name}, after"])
            )
            for k in range(max(map(len, numbers.values())))
        ]
        why = cut(self.column, scope)
        says = (
            "the random weights of the first layer become receptive fields (correlation of the "
            f"weights of neighbouring pixels, which grows by {_GROWN} or more)"
        )
        return [statement(says, "1", numbers, [None if why else g > _GROWN for g in grown], why)]

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Fields of the first seed; see `Item.draw`."""
        from analogdfc.reproduction.curves import image_rows  # drawing takes long to import

        done = self._done(scope, found)
        pairs = {name: c[0].images for name, c in done.items() if c[0].images is not None}
        if not pairs:
            return None
        start = next(iter(pairs.values()))[0]
        pictures = {"start": start, **{name: pair[1] for name, pair in pairs.items()}}
        return image_rows({n: _squares(w[:_SHOWN]) for n, w in pictures.items()}, self.title)

    def _training(self, method: Method, scope: Scope, seed: int) -> TrainingRun:
        return training(self.column, method, scope, seed, fields=_FIELDS)


def _squares(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows as square images, (rows, side, side)."""
    side = math.isqrt(rows.shape[1])
    return rows.reshape(-1, side, side)


def _smoothness(weights: NDArray[Any]) -> float:
    """Correlation of neighbours along rows and columns in square images, mean over both."""
    images = _squares(weights)
    pairs = (images[:, :, :-1], images[:, :, 1:]), (images[:, :-1], images[:, 1:])
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))
