"""Presets of deep feedback control: their conversion to this library's conventions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from analogdfc.controller import PI
from analogdfc.dynamics import Euler
from analogdfc.errors import UserError
from analogdfc.learning import SleepPhase
from analogdfc.presets._base import Card, Preset, replaced
from analogdfc.presets._tables import (
    Analytic,
    Control,
    FeedbackLearning,
    LearnedControl,
    Rate,
    Simulation,
    Tables,
)
from analogdfc.training import Experiment, FeedbackPlan, Plan

_CONTROL = ("dfc", "dfc-ss", "dfc-ssa")


@dataclass(frozen=True)
class ControlPreset(Preset):
    """The published settings of an experiment with deep feedback control.

    Attributes:
        tables: what the file says, in the published conventions.
    """

    tables: Tables

    @property
    def card(self) -> Card:
        """See `Preset`."""
        return self.tables.card

    def with_entries(self, entries: Mapping[str, Any]) -> ControlPreset:
        """See `Preset`."""
        return replace(self, tables=replaced(self.tables, entries))

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it has settings for."""
        control = self.tables.learned is not None or self.tables.fixed is not None
        others = (name for name in ("bp", "dfa") if getattr(self.tables, name) is not None)
        return (*(_CONTROL if control else ()), *others)

    def experiment(self, rule: str = "dfc-ssa", feedback: str | None = None) -> Experiment:
        """The settings for one rule, in this library's conventions.

        Args:
            rule: name of the rule.
            feedback: 'learned' or 'fixed'; by default learned where the preset has it. Means
                nothing to `bp` and `dfa`.

        Raises:
            UserError: the preset has no settings for this rule or feedback.
        """
        self._check(rule)
        if rule in _CONTROL:
            return self._control(rule, feedback)
        shared, table = self.tables.experiment, self._rate(rule)
        if rule == "bp":
            factor = 1 / shared.sizes[-1] if shared.loss == "l2" else 1.0
            return self._made(rule, table, factor, None)
        factor = 2 * table.target_stepsize * shared.share
        return self._made(rule, table, factor, shared.clip)

    def changed(
        self, target_stepsize: float | None = None, alpha: float | None = None
    ) -> ControlPreset:
        """The same experiment with other constants of deep feedback control.

        Args:
            target_stepsize: lambda in the published convention; the learning rate follows, since
                published is its product with lambda. None for the preset's.
            alpha: leak of the control signal; None for the preset's.

        Raises:
            UserError: a value below 0, or a target step of 0.
        """
        given = {
            name: value
            for name, value in (("target_stepsize", target_stepsize), ("alpha", alpha))
            if value is not None
        }
        if not given:
            return self
        bad = {k: v for k, v in given.items() if not (math.isfinite(v) and v >= 0)}
        if bad or target_stepsize == 0:
            raise UserError(f"preset {self.name!r}: {given}: finite numbers are needed, lambda > 0")
        tables = {
            name: table.model_copy(update=given)
            for name in ("learned", "fixed")
            if (table := getattr(self.tables, name)) is not None
        }
        return replace(self, tables=self.tables.model_copy(update=tables))

    def _control(self, rule: str, feedback: str | None) -> Experiment:
        kinds = {k: t for k in ("learned", "fixed") if (t := getattr(self.tables, k)) is not None}
        chosen = feedback or next(iter(kinds))
        if chosen not in kinds:
            raise UserError(
                f"preset {self.name!r} has no published settings for {chosen} feedback; it has "
                f"those for {' and '.join(kinds)}"
            )
        table: Control = kinds[chosen]
        shared = self.tables.experiment
        loop: Simulation | Analytic = getattr(table, rule.replace("-", "_"))
        options: dict[str, Any] = {
            "target_stepsize": table.target_stepsize * shared.share,
            "controller": PI(k_p=loop.k_p, alpha=table.alpha, tau_u=table.tau_u),
            "tau_v": loop.tau_v,
            "integrator": Euler(layered=True, proactive=table.proactive),
        }
        if isinstance(loop, Simulation):
            options |= {"dt": loop.dt, "steps": loop.steps}
        plan = None
        if isinstance(table, LearnedControl):
            options["sleep"] = SleepPhase(**table.sleep.model_dump(), beta=0.0, proactive=False)
            plan = self._feedback(table.feedback)
        return self._made(
            rule, table, 2.0, shared.clip, feedback=chosen, options=options, plan=plan
        )

    def _feedback(self, table: FeedbackLearning) -> FeedbackPlan:
        optimizer = self.tables.optimizer
        return FeedbackPlan(
            optimizer=optimizer.settings(table.lr, table.eps, weight_decay=table.beta),
            pretraining=optimizer.settings(
                table.lr_pretraining, table.eps, weight_decay=table.beta
            ),
            pretraining_epochs=table.pretraining_epochs,
            before=table.before,
            after=table.after,
            clip=self.tables.experiment.clip,
        )

    def _rate(self, rule: str) -> Rate:
        table = getattr(self.tables, rule)
        assert isinstance(table, Rate)
        return table

    def _made(
        self,
        rule: str,
        table: Rate,
        factor: float,
        clip: float | None,
        *,
        feedback: str = "fixed",
        options: dict[str, Any] | None = None,
        plan: FeedbackPlan | None = None,
    ) -> Experiment:
        """An experiment whose published gradients are `factor` times ours."""
        shared = self.tables.experiment
        return Experiment(
            rule=rule,
            dataset=shared.dataset,
            sizes=shared.sizes,
            activation=shared.activation,
            loss=shared.loss,
            autoencoder=shared.autoencoder,
            feedback=feedback,
            options=options or {},
            plan=Plan(
                epochs=shared.epochs,
                batch_size=shared.batch_size,
                optimizer=self.tables.optimizer.settings(table.lr, table.eps, factor=factor),
                clip=None if clip is None else clip / factor,
                feedback=plan,
            ),
        )
