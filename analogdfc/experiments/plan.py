"""Which runs each figure needs, in full and in a quick version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from analogdfc.experiments.feedback_configurations import Configurations
from analogdfc.experiments.feedback_learning import FeedbackLearning
from analogdfc.experiments.results import CurvesRun
from analogdfc.experiments.toy import FeedbackKind, Method, ToyRun, ToySettings
from analogdfc.learning import SleepPhase

FIGURES = ("2", "3", "4", "s2", "s3", "s4", "s5")

BUDGETS = {
    "epochs": ("3", "s2"),
    "pretraining": ("3", "4", "s2"),
    "sweep_epochs": ("4",),
    "feedback_epochs": ("s3", "s4", "s5"),
    "damping": ("3", "4", "s2"),
}
"""Settings that only some figures have, and which: `sweep_epochs` and `feedback_epochs` of `Plan`,
the others of its `toy`."""

CONTROLLED: tuple[Method, ...] = ("dfc", "dfc-ss", "dfc-ssa")
METHODS: tuple[tuple[Method, FeedbackKind], ...] = (
    *((method, "trained") for method in CONTROLLED),
    *((method, "fixed") for method in CONTROLLED),
    ("dfa", "random"),
)

LAMBDA, PER_SAMPLE, ALPHA = "sweep of lambda", "sweep of lambda per sample", "sweep of alpha"

# The setting of App. C.2, and what Figs. S3 to S5 change in it.
_SLEEP = SleepPhase(sigma=0.01, tau_v=0.005, tau_fb=0.3, beta=0.01, dt=0.001, steps=300)
ACTIVATIONS = ("linear", "tanh")
GAMMA = 5.0
S3, S4, S5 = "gamma", "alpha", "k_p"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Size and settings of all experiments.

    Attributes:
        toy: of Figs. 3 and S2.
        sweep_epochs: epochs of each run of Fig. 4.
        lambdas: target stepsizes of Fig. 4.
        alphas: leaks of Fig. 4.
        configurations: of Fig. 2.
        feedback_epochs: epochs of each run of Figs. S3 to S5.
        feedback_samples: inputs in each of these.
        gammas: dampings of Fig. S3.
        leaks: leaks of Fig. S4.
        gains: proportional gains of Fig. S5.
    """

    toy: ToySettings = field(default_factory=ToySettings)
    sweep_epochs: int = 10
    lambdas: tuple[float, ...] = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5)
    alphas: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    configurations: int = 3000
    feedback_epochs: int = 30
    feedback_samples: int = 5000
    gammas: tuple[float, ...] = (0.0, 0.1, 1.0, 2.0, 5.0, 10.0, 100.0)
    leaks: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)
    gains: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)

    @classmethod
    def quick(cls) -> Plan:
        """Everything in under a minute: less of all, a small teacher and a coarse time step."""
        toy = ToySettings(
            teacher=(15, 50, 50, 5),
            samples=(1024, 64, 64),
            epochs=6,
            pretraining=60,
            dt=0.02,
            steps=250,
        )
        return cls(
            toy=toy,
            sweep_epochs=1,
            lambdas=(0.001, 0.05, 0.5),
            alphas=(1e-4, 1e-2, 1e-1),
            configurations=400,
            feedback_epochs=10,
            feedback_samples=1500,
            leaks=(0.0, 1.0),
            gains=(0.0, 1.0),
        )

    def runs(self, figures: Iterable[str]) -> list[CurvesRun]:
        """The runs that figures need, each once, long ones first.

        Args:
            figures: of `FIGURES`.
        """
        found: dict[str, CurvesRun] = {}
        for figure in figures:
            found |= {job.name: job for job in self._of(figure)}
        return sorted(found.values(), key=lambda job: -job.work)

    def _of(self, figure: str) -> list[CurvesRun]:
        if figure == "2":
            return [
                Configurations(count=self.configurations, sizes=self.toy.sizes, seed=self.toy.seed)
            ]
        if figure in ("3", "s2"):
            return [ToyRun(method, kind, self.toy) for method, kind in METHODS]
        if figure == "4":
            return self._sweeps()
        group = {"s3": S3, "s4": S4, "s5": S5}[figure]
        return [
            self._learning(group, a, sleep) for a in ACTIVATIONS for sleep in self._sleeps(group)
        ]

    def _sweeps(self) -> list[CurvesRun]:
        base = replace(self.toy, epochs=self.sweep_epochs, spectra=False)
        changed = [
            *((f"{LAMBDA}/{v:g}", replace(base, target_stepsize=v)) for v in self.lambdas),
            *(
                (f"{PER_SAMPLE}/{v:g}", replace(base, target_stepsize=v, per_sample=True))
                for v in self.lambdas
            ),
            *((f"{ALPHA}/{v:g}", replace(base, alpha=v)) for v in self.alphas),
        ]
        return [ToyRun(m, "trained", toy, group) for group, toy in changed for m in CONTROLLED]

    def _sleeps(self, group: str) -> list[SleepPhase]:
        if group == S3:
            return [replace(_SLEEP, k_p=0.0, alpha=0.5)]
        if group == S4:
            return [replace(_SLEEP, k_p=0.3, alpha=alpha) for alpha in self.leaks]
        return [replace(_SLEEP, k_p=k_p, alpha=0.1) for k_p in self.gains]

    def _learning(self, group: str, activation: str, sleep: SleepPhase) -> FeedbackLearning:
        return FeedbackLearning(
            activation,
            self.gammas if group == S3 else (GAMMA,),
            sleep,
            samples=self.feedback_samples,
            epochs=self.feedback_epochs,
            seed=self.toy.seed,
            group=f"feedback learning, {group}",
        )
