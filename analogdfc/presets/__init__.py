"""Presets: the published settings of the experiments, one TOML file each.

The files hold the published numbers as they are. `Preset.experiment` converts them to this
library's conventions, which is the only place where that is done:

- Learning rates are published times the target stepsize: lr = lr_lambda / target_stepsize.
- The published loss is a mean over the batch and, for the squared error, over the outputs; here it
  is summed over the outputs of a sample. The published target therefore moves by lambda / B times
  the gradient of a sample's loss (cross-entropy) or by lambda / (B n_L) times it (squared error),
  and that is the target stepsize here, whatever batch size the user then chooses.
- The published updates of deep feedback control carry a factor of 2. Gradients here are half as
  large, so a learning rate of SGD doubles, while Adam's eps and the limit of clipping halve.
- Published gradients of `bp` are those of the mean loss: 1 / n_L times ours for the squared error.
  Those of `dfa` are differences between targets and activities: 2 lambda / B or 2 lambda / (B n_L)
  times ours. Learning rate or eps and limit follow in the same way. `bp` is not clipped.
- The decay beta of the feedback weights is that of their optimiser, which adds it after clipping;
  the sleep phase's own is 0.

What is not reproduced:

- The published code sets the updates of samples to 0 whose loop has not converged (on Fashion-MNIST
  about half of a batch); here all samples learn.
- Where it freezes Q_L, it adds noise to the output layer in the sleep phase all the same, except
  for the autoencoder; here there is none, as the paper says.
- `dfc-ss` finds the steady state by Newton's method unless told to simulate; dt and steps are the
  published ones.
- Published test figures are means over mini-batches, the last of which is smaller; here they are
  means over samples.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from analogdfc.controller import PI
from analogdfc.dynamics import Euler
from analogdfc.errors import UserError
from analogdfc.learning import SleepPhase
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

__all__ = ["Preset", "load_preset", "preset_names"]


_CONTROL = ("dfc", "dfc-ss", "dfc-ssa")


@dataclass(frozen=True)
class Preset:
    """The published settings of one experiment.

    Attributes:
        name: its name.
        tables: what the file says, in the published conventions.
    """

    name: str
    tables: Tables

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.tables.card.title

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.tables.card.source

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
        if rule not in self.rules:
            raise UserError(
                f"preset {self.name!r} has no published settings for the rule {rule!r}; it has "
                f"those of {', '.join(self.rules)}"
            )
        if rule in _CONTROL:
            return self._control(rule, feedback)
        shared, table = self.tables.experiment, self._rate(rule)
        if rule == "bp":
            factor = 1 / shared.sizes[-1] if shared.loss == "l2" else 1.0
            return self._made(rule, table, factor, None)
        factor = 2 * table.target_stepsize * shared.share
        return self._made(rule, table, factor, shared.clip)

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


def preset_names() -> tuple[str, ...]:
    """Names of all presets."""
    folder = files(__name__)
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none; the message lists those that exist.

    Example:
        >>> load_preset("mnist").experiment("dfc-ssa").plan.epochs
        100
    """
    if name not in preset_names():
        raise UserError(f"unknown preset {name!r}; there are {', '.join(preset_names())}")
    text = (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    return Preset(name, Tables.model_validate(tomllib.loads(text)))
