"""What the papers searched over, and within which intervals.

Meulemans et al. 2021, Tables S3 and S4; Meulemans et al. 2020, Tables S2 to S5. The papers print
intervals and no distributions: here an interval of more than a decade is searched on a logarithmic
scale, any other on a linear one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from analogdfc.errors import UserError
from analogdfc.presets import ControlPreset, Preset, TargetPreset

__all__ = ["Variable", "chosen", "space_of"]

_DECADE = 10.0


@dataclass(frozen=True)
class Variable:
    """A hyperparameter that is searched over, in the published conventions.

    Attributes:
        name: its name, such as 'lr_lambda' for lr times lambda.
        distribution: what it is drawn from.
        entries: what a value puts into the tables of a preset, by place.
    """

    name: str
    distribution: BaseDistribution
    entries: Callable[[Any], Mapping[str, Any]]

    @property
    def text(self) -> str:
        """The interval, or the values that there are."""
        of = self.distribution
        if isinstance(of, CategoricalDistribution):
            return "{" + "; ".join(map(str, of.choices)) + "}"
        assert isinstance(of, FloatDistribution | IntDistribution)
        return f"[{of.low:g} : {of.high:g}]" + (", log" if of.log else "")


def _interval(name: str, low: float, high: float, *places: str, factor: float = 1.0) -> Variable:
    log = low > 0 and high / low > _DECADE * (1 + 1e-9)
    return Variable(
        name,
        FloatDistribution(low, high, log=log),
        lambda value: dict.fromkeys(places, factor * value),
    )


def _one_of(name: str, choices: Sequence[Any], *places: str) -> Variable:
    return Variable(
        name, CategoricalDistribution(tuple(choices)), lambda value: dict.fromkeys(places, value)
    )


def _of_control(table: str) -> list[Variable]:
    """What fixed and learned feedback have in common."""
    return [
        _interval("lr_lambda", 1e-7, 1e-4, f"{table}.lr_lambda"),
        _interval("eps", 1e-8, 1e-5, f"{table}.eps"),
        _interval("alpha", 1e-5, 1e-1, f"{table}.alpha"),
        _interval("lambda", 1e-3, 1e-1, f"{table}.target_stepsize"),
    ]


def _of_feedback(table: str) -> list[Variable]:
    """Learning of the feedback weights, and its simulation."""
    sleep, learning = f"{table}.sleep", f"{table}.feedback"
    return [
        _interval("lr_fb", 1e-6, 5e-4, f"{learning}.lr"),
        _interval("lr_fb_pretrain", 5e-5, 1e-3, f"{learning}.lr_pretraining"),
        _interval("eps_fb", 1e-8, 1e-5, f"{learning}.eps"),
        _interval("alpha_fb", 0.2, 1.0, f"{sleep}.alpha"),
        _one_of("beta", (0.0, 1e-5, 1e-3, 1e-1), f"{learning}.beta"),
        _interval("k_p_fb", 0.0, 0.2, f"{sleep}.k_p"),
        _interval("tau_v_fb_phase", 5e-3, 1.5e-2, f"{sleep}.tau_v"),
        _interval("tau_v_fb", 0.1, 0.5, f"{sleep}.tau_fb"),
        _interval("sigma", 1e-3, 1e-1, f"{sleep}.sigma"),
        # Of the X epochs the first is before the forward epoch, as in the published code.
        Variable(
            "X",
            CategoricalDistribution((1, 2, 3)),
            lambda value: {f"{learning}.before": 1, f"{learning}.after": value - 1},
        ),
        _interval("dt_fb", 1e-3, 5e-3, f"{sleep}.dt"),
        Variable("steps_fb", IntDistribution(30, 60), lambda value: {f"{sleep}.steps": value}),
        Variable(
            "freeze_Q_L",
            CategoricalDistribution((True, False)),
            lambda value: {f"{sleep}.train_output": not value},
        ),
    ]


def _betas(suffix: str, place: str) -> list[Variable]:
    choices = (0.9, 0.99, 0.999)
    return [_one_of(f"beta{k}{suffix}", choices, f"{place}.betas.{k - 1}") for k in (1, 2)]


def _of_targets(preset: TargetPreset, rule: str) -> list[Variable]:
    """Rules of target propagation, and what they are laid beside."""
    if rule == "bp":
        return [
            _interval("lr", 1e-5, 1e-2, "bp.lr"),
            *_betas("", "bp"),
            _interval("eps", 1e-8, 1e-3, "bp.eps"),
        ]
    if rule == "dfa":
        assert preset.tables.dfa is not None
        eta = preset.tables.dfa.target_stepsize
        return [
            _interval("lr", 1e-5, 1e-2, "dfa.lr_eta", factor=eta),
            *_betas("", "dfa"),
            _interval("eps", 1e-8, 1e-3, "dfa.eps"),
        ]
    table = f"rules.{rule}"
    old = rule in ("dtp", "dtp-pretrained")
    largest = 3e-1 if old else 1e-1
    decay = [] if rule == "dtp" else [
        _interval("wd_fb", 1e-7, 1e-4, f"{table}.feedback.weight_decay")
    ]  # fmt: skip
    return [
        _interval("lr_eta", 1e-6, 1e-4, f"{table}.lr_eta"),
        *_betas("", table),
        _interval("eps", 1e-8, 1e-4, f"{table}.eps"),
        _interval("lr_fb", 3e-5, 5e-3, f"{table}.feedback.lr"),
        *_betas("_fb", f"{table}.feedback"),
        _interval("eps_fb", 1e-8, 1e-4, f"{table}.feedback.eps"),
        _interval("eta", 1e-2, largest, f"{table}.target_stepsize"),
        _interval("sigma", 1e-3, largest, f"{table}.feedback.sigma"),
        *decay,
    ]


def space_of(preset: Preset, rule: str, feedback: str | None = None) -> tuple[Variable, ...]:
    """What the paper of a preset searched over for a rule.

    Args:
        preset: a published one.
        rule: one of its rules; `dfc` and `dfc-ss` have the space of `dfc-ssa`, as in the paper.
        feedback: 'learned' or 'fixed', for deep feedback control; by default learned where the
            preset has it.

    Raises:
        UserError: a preset of one's own, or a rule or feedback that the preset hasn't.

    >>> from analogdfc.presets import load_preset
    >>> [v.name for v in space_of(load_preset("fashion-mnist"), "dfc-ssa", "fixed")]
    ['lr_lambda', 'eps', 'alpha', 'lambda']
    """
    experiment = preset.experiment(rule, feedback)  # which refuses what it hasn't
    if isinstance(preset, TargetPreset):
        return tuple(_of_targets(preset, rule))
    if not isinstance(preset, ControlPreset):
        raise UserError(f"{preset.name}: no intervals are published for it; take a published one")
    adam = preset.tables.optimizer.kind == "adam"
    if rule in ("bp", "dfa"):
        step = getattr(preset.tables, rule).target_stepsize
        found = [
            _interval("lr", 1e-8, 1e-2, f"{rule}.lr_lambda", factor=step),
            _interval("eps", 1e-8, 1e-5, f"{rule}.eps"),
        ]
    else:
        found = _of_control(experiment.feedback)
        found += _of_feedback("learned") if experiment.feedback == "learned" else []
    return tuple(one for one in found if adam or not one.name.startswith("eps"))


def chosen(space: Sequence[Variable], values: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a preset's tables by place, for values of hyperparameters by name.

    Args:
        space: what is searched over.
        values: one of each.
    """
    return {place: entry for one in space for place, entry in one.entries(values[one.name]).items()}
