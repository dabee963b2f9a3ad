"""The null-space experiment of Meulemans et al. 2020, figure 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from analogdfc.errors import UserError
from analogdfc.experiments.results import Curves, CurvesRun, values
from analogdfc.experiments.targets import NullSpaceToy
from analogdfc.jobs import Progress, Run
from analogdfc.records import Quantity
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Item, Scope, done

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["NullSpaceFigure", "NullSpaceRun"]

_DTP, _DDTP = "dtp-pretrained", "ddtp-linear"
_SEEDS = 10
_EPOCH = 0.35  # seconds of one core, both rules, 2000 samples
_START = 1.5  # of the first run; of the others hardly anything


@dataclass(frozen=True)
class NullSpaceRun(CurvesRun):
    """The experiment on one network.

    Attributes:
        seed: of the network and the noise.
        toy: its settings.
    """

    seed: int
    toy: NullSpaceToy = field(default_factory=NullSpaceToy)

    @property
    def name(self) -> str:
        """What it is, and its seed."""
        return f"null space/{self.seed}"

    def run(self, progress: Progress) -> Curves:
        """Measure; see `Task.run`."""
        found = self.toy.run([self.seed], progress)
        text = "share of the updates in the null space, mean over samples"
        return {
            name: Quantity(shares[0].numpy(), "1", text, ("epoch",))
            for name, shares in found.shares.items()
        }


@dataclass(frozen=True)
class NullSpaceFigure(Item):
    """The figure with its claim."""

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """See `Item.runs`."""
        if scope.rows:
            raise UserError(f"{self.name}: its statements belong together; there are no rows apart")
        toy = NullSpaceToy()
        if scope.quick:
            toy = NullSpaceToy(teacher=(6, 50, 50, 2), samples=(200, 50), epochs=2)
        if scope.epochs is not None:
            toy = NullSpaceToy(teacher=toy.teacher, samples=toy.samples, epochs=scope.epochs)
        seeds = scope.seeds or (1 if scope.quick else _SEEDS)
        return [NullSpaceRun(seed, toy) for seed in range(seeds)]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        runs = [run for run in self.runs(scope) if isinstance(run, NullSpaceRun)]
        return _START + sum(_EPOCH * run.toy.epochs * run.toy.samples[0] / 2000 for run in runs)

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`."""
        curves = [*done(self.runs(scope), found)]
        if not curves:
            return []
        ends = {name: [float(values(c, name)[-1]) for c in curves] for name in (_DTP, _DDTP, "gnt")}
        short = "short form" if scope.quick else ""
        smaller = [b < a for a, b in zip(ends[_DTP], ends[_DDTP], strict=True)]
        average = float(np.mean(ends[_DTP]))
        none: list[bool | None] = [None] * len(curves)
        return [
            statement(
                "a substantial part of DTP's updates of the second layer (more than half, on "
                "average over networks) lies in the null space, and moves no output",
                "1",
                {_DTP: ends[_DTP]},
                [None if short else average > 0.5],
                short,
            ),
            statement(
                "DDTP-linear's updates have a smaller part there",
                "1",
                ends,
                none if short else smaller,
                short,
            ),
        ]

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """See `Item.draw`."""
        from analogdfc.drawing import headed, new_figure  # drawing takes long to import

        curves = [*done(self.runs(scope), found)]
        if not curves:
            return None
        figure = new_figure(5.5, 3.8)
        headed(figure, self.title)
        axes = figure.subplots()
        for name, colour in ((_DTP, "#0072B2"), (_DDTP, "#D55E00"), ("gnt", "0.5")):
            shares = np.array([values(c, name) for c in curves])
            mean, spread = shares.mean(axis=0), shares.std(axis=0)
            epochs = range(shares.shape[1])
            axes.errorbar(epochs, mean, yerr=spread, label=name, color=colour, capsize=2)
        axes.set_xlabel("epochs of feedback learning")
        axes.set_ylabel("share of the update in the null space (1)")
        axes.legend()
        return figure
