"""Statements of the papers beside what was measured, and how long a run a verdict needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import NamedTuple

from analogdfc.experiments.plan import Plan

# Samples that a verdict takes. Training: with dfc-ssa, trained and fixed, and dfa, what Fig. 3
# claims of the end has the verdicts of 300 epochs from 80 epochs of 5000 samples on, and others
# between 1 and 60. Pre-training: a fifth of the published one. Sweeps and feedback learning: as
# published.
_LONG_TRAINING = 500_000
_LONG_PRETRAINING = 50_000
_LONG_SWEEP = 50_000
_LONG_FEEDBACK = 150_000


class Length(NamedTuple):
    """What a claim needs of a plan.

    Attributes:
        what: what is counted, for people.
        of: how much of it a plan has.
        least: how much a verdict needs.
        refutable: a counterexample refutes the claim, however short the run.
    """

    what: str
    of: Callable[[Plan], int]
    least: int
    refutable: bool = False


PRETRAINING = Length(
    "samples of pre-training",
    lambda plan: plan.toy.pretraining * plan.toy.samples[0],
    _LONG_PRETRAINING,
)
TRAINING = Length(
    "samples learned", lambda plan: plan.toy.epochs * plan.toy.samples[0], _LONG_TRAINING
)
ALL_OF_TRAINING = TRAINING._replace(refutable=True)
SWEEP = Length("samples learned", lambda plan: plan.sweep_epochs * plan.toy.samples[0], _LONG_SWEEP)
FEEDBACK = Length(
    "samples of feedback learning",
    lambda plan: plan.feedback_epochs * plan.feedback_samples,
    _LONG_FEEDBACK,
)


@dataclass(frozen=True)
class Finding:
    """A statement of the paper and what was measured.

    Attributes:
        figure: '2', '3', '4', 's2' to 's5'.
        statement: what the paper says, made precise.
        numbers: what was measured, by name.
        units: unit of all of them.
        agrees: whether they agree with the statement; None without a verdict.
        needs: what must be long enough for a verdict, None for nothing.
        count: how much there was of it.
    """

    figure: str
    statement: str
    numbers: dict[str, float]
    units: str
    agrees: bool | None
    _: KW_ONLY
    needs: Length | None = None
    count: int | None = None

    @property
    def unjudged(self) -> str:
        """Why there is no verdict; empty where there is."""
        if self.agrees is not None:
            return ""
        if self.needs is None:
            return "no claim of the paper"
        return f"too short to tell: {self.count} of at least {self.needs.least} {self.needs.what}"


def judged(finding: Finding, plan: Plan) -> Finding:
    """The finding, without a verdict where the plan is too short for one.

    Args:
        finding: the finding, with a verdict.
        plan: what was run.
    """
    needs = finding.needs
    if needs is None or (needs.refutable and finding.agrees is False):
        return finding
    if (count := needs.of(plan)) >= needs.least:
        return finding
    return replace(finding, agrees=None, count=count)
