"""Presets of target propagation: what their files hold, and the conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from analogdfc.learning import LearnedTargets, RecurrentDDTPRHL, get_rule
from analogdfc.learning.targets import RandomHiddenFeedback
from analogdfc.learning.targets.base import FAMILY
from analogdfc.network import Network
from analogdfc.presets._base import Card, Preset, Table, replaced
from analogdfc.training import Adam, Experiment, FeedbackPlan, Plan

__all__ = ["FAMILY", "TargetPreset", "TargetTables"]


class TargetSettings(Table):
    """What all rules of an experiment share.

    Attributes:
        frozen: layers that don't learn.
        width: neurons of the random hidden layer of `ddtp-rhl` and `ddtp-rhl-rec`.
    """

    dataset: str
    sizes: tuple[int, ...]
    activation: str
    loss: Literal["cross-entropy"]
    epochs: int
    batch_size: int
    frozen: tuple[int, ...] = ()
    width: int


class AdamRate(Table):
    """Adam with its learning rate."""

    lr: float
    betas: tuple[float, float]
    eps: float

    def settings(self, *, factor: float = 1.0, weight_decay: float = 0.0) -> Adam:
        """The optimiser for gradients that are `factor` times smaller than the published ones."""
        return Adam(self.lr, weight_decay, self.betas, self.eps / factor)


class TargetFeedbackLearning(AdamRate):
    """How the feedback weights learn.

    Attributes:
        sigma: standard deviation of the noise.
        weight_decay: added to the gradient by Adam.
        pretraining_epochs: before any forward learning.
        extra: epochs after each forward epoch.
    """

    sigma: float
    weight_decay: float
    pretraining_epochs: int
    extra: int


class TargetRates(Table):
    """The settings of a rule with targets.

    Attributes:
        lr_eta: learning rate times target stepsize.
        target_stepsize: eta.
        betas: Adam's.
        eps: Adam's.
        feedback: learning of the feedback weights; `dfa` has none.
    """

    lr_eta: float
    target_stepsize: float
    betas: tuple[float, float]
    eps: float
    feedback: TargetFeedbackLearning | None = None

    @property
    def rate(self) -> AdamRate:
        """Adam of the forward weights, with the learning rate itself."""
        return AdamRate(lr=self.lr_eta / self.target_stepsize, betas=self.betas, eps=self.eps)


class GradientRate(AdamRate):
    """The settings of `bp`.

    Attributes:
        epochs: where they aren't those of the experiment.
    """

    epochs: int | None = None


class TargetTables(Table):
    """All of a preset, in the published conventions.

    Attributes:
        rules: settings of the rules with targets, by the name of the rule.
    """

    card: Card
    experiment: TargetSettings
    rules: dict[str, TargetRates]
    bp: GradientRate | None = None
    dfa: TargetRates | None = None


@dataclass(frozen=True)
class RandomHidden:
    """Makes feedback through a random hidden layer.

    Attributes:
        width: its neurons.
        recurrent: each layer hears its own activity too.
    """

    width: int
    recurrent: bool

    def __call__(self, network: Network, generator: torch.Generator) -> RandomHiddenFeedback:
        """Feedback of a network, at random."""
        return RandomHiddenFeedback.random(
            network, generator, width=self.width, recurrent=self.recurrent
        )


@dataclass(frozen=True)
class TargetPreset(Preset):
    """The published settings of an experiment with target propagation.

    Attributes:
        tables: what the file says, in the published conventions.
    """

    tables: TargetTables

    @property
    def card(self) -> Card:
        """See `Preset`."""
        return self.tables.card

    def with_entries(self, entries: Mapping[str, Any]) -> TargetPreset:
        """See `Preset`."""
        return replace(self, tables=replaced(self.tables, entries))

    @property
    def rules(self) -> tuple[str, ...]:
        """See `Preset`."""
        others = (name for name in ("bp", "dfa") if getattr(self.tables, name) is not None)
        return (*self.tables.rules, *others)

    def experiment(self, rule: str, feedback: str | None = None) -> Experiment:
        """See `Preset.experiment`; `feedback` means nothing to these rules."""
        self._check(rule)
        shared, bp, dfa = self.tables.experiment, self.tables.bp, self.tables.dfa
        if rule == "bp":
            assert bp is not None
            return self._made(rule, bp.settings(), epochs=bp.epochs)
        if rule == "dfa":
            assert dfa is not None
            factor = 2 * dfa.target_stepsize / shared.batch_size
            return self._made(rule, dfa.rate.settings(factor=factor))
        return self._targets(rule, self.tables.rules[rule])

    def _targets(self, rule: str, table: TargetRates) -> Experiment:
        kind, learning, shared = get_rule(rule).rule, table.feedback, self.tables.experiment
        assert issubclass(kind, LearnedTargets)
        assert learning is not None
        optimizer = learning.settings(weight_decay=learning.weight_decay)
        through_random_layer = issubclass(kind.pathway, RandomHiddenFeedback)
        return self._made(
            rule,
            table.rate.settings(),
            options={
                "target_stepsize": table.target_stepsize / shared.batch_size,
                "reconstruction": replace(kind.default_reconstruction(), sigma=learning.sigma),
            },
            learning=FeedbackPlan(
                optimizer=optimizer,
                pretraining=optimizer,
                pretraining_epochs=learning.pretraining_epochs,
                before=0,
                after=learning.extra,
                clip=None,
            ),
            pathway=RandomHidden(shared.width, issubclass(kind, RecurrentDDTPRHL))
            if through_random_layer
            else None,
        )

    def _made(
        self,
        rule: str,
        optimizer: Adam,
        *,
        epochs: int | None = None,
        options: dict[str, Any] | None = None,
        learning: FeedbackPlan | None = None,
        pathway: RandomHidden | None = None,
    ) -> Experiment:
        shared = self.tables.experiment
        frozen = {"frozen": shared.frozen} if shared.frozen else {}
        return Experiment(
            rule=rule,
            dataset=shared.dataset,
            sizes=shared.sizes,
            activation=shared.activation,
            loss=shared.loss,
            pathway=pathway,
            options={**(options or {}), **frozen},
            plan=Plan(
                epochs=epochs or shared.epochs,
                batch_size=shared.batch_size,
                optimizer=optimizer,
                feedback=learning,
            ),
        )
