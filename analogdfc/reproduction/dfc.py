"""Tables and figures of Meulemans et al. 2021, with what its text prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from analogdfc.reproduction.angle_claims import (
    like_gradients,
    linear_rule,
    much_better,
    output_layers,
)
from analogdfc.reproduction.angles import AngleFigure, Means, Source, ToySource, TrainingSource
from analogdfc.reproduction.cells import SHORT_SAMPLES, Column, Method
from analogdfc.reproduction.claims import Claim
from analogdfc.reproduction.comparisons import ComparedTable, Comparison
from analogdfc.reproduction.images import ImagesFigure
from analogdfc.reproduction.items import Item
from analogdfc.reproduction.tables import TrainingTable
from analogdfc.reproduction.theory import TheoryFigure

__all__ = ["ITEMS"]

_METHODS = {
    "bp": Method("bp"),
    "dfc": Method("dfc", "learned"),
    "dfc-ssa": Method("dfc-ssa", "learned"),
    "dfc-ss": Method("dfc-ss", "learned"),
    "dfc-fixed": Method("dfc", "fixed"),
    "dfc-ssa-fixed": Method("dfc-ssa", "fixed"),
    "dfc-ss-fixed": Method("dfc-ss", "fixed"),
    "dfa": Method("dfa"),
}
_SHORT_AUTOENCODER = 16

_TABLE1 = {
    "mnist": Column(
        preset="mnist",
        figure="test error",
        dataset="mnist",
        values={
            "bp": (2.08, 0.15),
            "dfc": (2.25, 0.094),
            "dfc-ssa": (2.18, 0.16),
            "dfc-ss": (2.29, 0.097),
            "dfc-fixed": (2.47, 0.12),
            "dfc-ssa-fixed": (2.46, 0.11),
            "dfc-ss-fixed": (2.39, 0.22),
            "dfa": (2.69, 0.11),
        },
    ),
    "fashion-mnist": Column(
        preset="fashion-mnist",
        figure="test error",
        dataset="fashion-mnist",
        values={
            "bp": (10.60, 0.34),
            "dfc": (11.17, 0.27),
            "dfc-ssa": (11.28, 0.27),
            "dfc-ss": (11.15, 0.32),
            "dfc-fixed": (11.62, 0.30),
            "dfc-ssa-fixed": (11.44, 0.14),
            "dfc-ss-fixed": (11.55, 0.42),
            "dfa": (11.38, 0.25),
        },
    ),
    "mnist-autoencoder": Column(
        preset="mnist-autoencoder",
        figure="test loss",
        dataset="mnist",
        short=_SHORT_AUTOENCODER,
        simulate=True,
        values={
            "bp": (9.42e-2, 0.09e-2),
            "dfc": (11.28e-2, 0.18e-2),
            "dfc-ssa": (11.27e-2, 0.09e-2),
            "dfc-ss": (11.21e-2, 0.04e-2),
            "dfc-fixed": (33.37e-2, 0.60e-2),
            "dfc-ssa-fixed": (31.90e-2, 0.77e-2),
            "dfc-ss-fixed": (32.31e-2, 0.37e-2),
            "dfa": (29.95e-2, 0.36e-2),
        },
    ),
    "mnist-train": Column(
        preset="mnist-train",
        figure="training loss",
        dataset="mnist",
        values={
            "bp": (1.53e-7, 0.19e-7),
            "dfc": (7.61e-8, 0.65e-8),
            "dfc-ssa": (4.89e-8, 1.26e-8),
            "dfc-ss": (4.80e-8, 0.70e-8),
            "dfc-fixed": (1.30e-6, 0.15e-6),
            "dfc-ssa-fixed": (1.73e-6, 0.39e-6),
            "dfc-ss-fixed": (1.67e-6, 0.70e-6),
            "dfa": (7.09e-7, 1.11e-7),
        },
    ),
}

_TABLE_S5 = {
    "mnist": Column(
        preset="mnist",
        figure="least training loss",
        dataset="mnist",
        values={
            "bp": (7.51e-4, 1.06e-4),
            "dfc": (1.93e-4, 3.83e-4),
            "dfc-ssa": (2.51e-5, 1.76e-5),
            "dfc-ss": (7.71e-6, 5.04e-6),
            "dfc-fixed": (9.04e-4, 3.87e-4),
            "dfc-ssa-fixed": (1.32e-3, 0.22e-3),
            "dfc-ss-fixed": (1.66e-3, 0.44e-3),
            "dfa": (3.59e-4, 0.14e-4),
        },
    ),
    "fashion-mnist": Column(
        preset="fashion-mnist",
        figure="least training loss",
        dataset="fashion-mnist",
        values={
            "bp": (1.19e-2, 0.064e-2),
            "dfc": (8.84e-2, 0.87e-2),
            "dfc-ssa": (1.74e-1, 0.037e-1),
            "dfc-ss": (1.72e-1, 0.022e-1),
            "dfc-fixed": (2.34e-1, 0.46e-1),
            "dfc-ssa-fixed": (1.69e-1, 0.24e-1),
            "dfc-ss-fixed": (1.30e-1, 0.11e-1),
            "dfa": (6.43e-2, 0.37e-2),
        },
    ),
    "mnist-autoencoder": Column(
        preset="mnist-autoencoder",
        figure="least training loss, mean over outputs",
        dataset="mnist",
        short=_SHORT_AUTOENCODER,
        simulate=True,
        values={
            "bp": (9.57e-2, 0.080e-2),
            "dfc": (1.16e-1, 0.023e-1),
            "dfc-ssa": (1.16e-1, 0.009e-1),
            "dfc-ss": (1.14e-1, 0.006e-1),
            "dfc-fixed": (3.34e-1, 0.06e-1),
            "dfc-ssa-fixed": (3.20e-1, 0.041e-1),
            "dfc-ss-fixed": (3.23e-1, 0.04e-1),
            "dfa": (3.05e-1, 0.021e-1),
        },
    ),
}

_TABLE2 = {
    **{
        f"lambda-{size:g}": Column(
            preset="mnist",
            figure="test error",
            dataset="mnist",
            target_stepsize=size,
            alpha=0.0015,
            values={"dfc-ss": steady, "dfc": simulated},
        )
        for size, steady, simulated in (
            (1e-3, (2.26, 0.11), (2.29, 0.04)),
            (1e-2, (2.25, 0.05), (2.31, 0.04)),
            (1e-1, (2.27, 0.07), (2.30, 0.06)),
            (0.5, (2.31, 0.15), (2.34, 0.15)),
        )
    },
    **{
        f"alpha-{leak:g}": Column(
            preset="mnist",
            figure="test error",
            dataset="mnist",
            target_stepsize=0.08,
            alpha=leak,
            values={"dfc-ss": steady, "dfc": simulated},
        )
        for leak, steady, simulated in (
            (1e-4, (2.31, 0.12), (2.28, 0.06)),
            (1e-3, (2.28, 0.15), (2.31, 0.11)),
            (1e-2, (2.26, 0.05), (2.32, 0.12)),
            (1e-1, (2.28, 0.11), (2.34, 0.16)),
        )
    },
}

_AUTOENCODER = replace(_TABLE1["mnist-autoencoder"], values={})

_ANGLE_METHODS = (
    *("dfc-ss", "dfc-ssa", "dfc", "dfa"),
    *("dfc-ss-fixed", "dfc-ssa-fixed", "dfc-fixed"),
)
_TOY = ToySource(
    damping=0.1,
    of={
        "dfc-ss": ("dfc-ss", "trained", True),
        "dfc-ssa": ("dfc-ssa", "trained", True),
        "dfc": ("dfc", "trained", True),
        "dfa": ("dfa", "random", True),
        "dfc-ss-fixed": ("dfc-ss", "fixed", True),
        "dfc-ssa-fixed": ("dfc-ssa", "fixed", True),
        "dfc-fixed": ("dfc", "fixed", True),
    },
)
_RULES = ToySource(
    damping=0.0,
    of={"nonlinear": ("dfc-ss", "trained", True), "linear": ("dfc-ss", "trained", False)},
)


def _images(preset: str, dataset: str, short: int = SHORT_SAMPLES) -> TrainingSource:
    """Trainings of which the angles to BP and to both MN updates are taken."""
    column = Column(
        preset=preset,
        figure="test error",
        dataset=dataset,
        short=short,
        simulate=short == _SHORT_AUTOENCODER,
        values={},
    )
    return TrainingSource(column, {m: (_METHODS[m], "BP,MN:1,MN-D:1") for m in _ANGLE_METHODS})


def _angle_figures() -> list[AngleFigure]:
    """Figures S6 to S13: the same networks, to MN and to BP updates."""
    kinds: tuple[tuple[str, Source, str, Callable[[Means], Sequence[Claim]]], ...] = (
        ("toy", _TOY, "MN", much_better),
        ("MNIST", _images("mnist", "mnist"), "MN-D:1", like_gradients),
        ("Fashion-MNIST", _images("fashion-mnist", "fashion-mnist"), "MN-D:1", output_layers),
        (
            "MNIST autoencoder",
            _images("mnist-autoencoder", "mnist", _SHORT_AUTOENCODER),
            "MN-D:1",
            output_layers,
        ),
    )
    return [
        AngleFigure(
            f"dfc/s{6 + 2 * k + i}",
            f"Angles to {'BP' if i else 'MN'} updates a layer, {what}",
            source=source,
            seeds=1,
            shown="BP" if i else shown,
            judge=judge,
        )
        for k, (what, source, shown, judge) in enumerate(kinds)
        for i in (0, 1)
    ]


_TABLE_S1 = {
    "mnist": Column(
        preset="tp-mnist-3x256",
        figure="test error",
        dataset="mnist",
        values={"dtp": (2.61, 0.13), "ddtp-linear": (2.22, 0.22)},
    ),
    "fashion-mnist": Column(
        preset="tp-fashion-mnist-3x256",
        figure="test error",
        dataset="fashion-mnist",
        values={"dtp": (11.26, 0.23), "ddtp-linear": (10.84, 0.22)},
    ),
    "mnist-autoencoder": Column(
        preset="tp-mnist-autoencoder",
        figure="test loss",
        dataset="mnist",
        values={"dtp": (22.36e-2, 0.59e-2), "ddtp-linear": (14.60e-2, 0.10e-2)},
    ),
    "mnist-train": Column(
        preset="tp-mnist-3x256",
        figure="training loss",
        dataset="mnist",
        values={"dtp": (8.36e-6, 4.09e-6), "ddtp-linear": (1.97e-8, 0.70e-8)},
    ),
}


def _times(preset: str, dataset: str, seconds: Sequence[float], short: int) -> Column:
    """A column of table S6: one epoch, without pre-training."""
    methods = ("dfc", "dfc-ssa", "dfc-ss", "dfc-fixed", "dfc-ssa-fixed", "dfc-ss-fixed")
    return Column(
        preset=preset,
        figure="time of an epoch",
        dataset=dataset,
        values={name: (s, math.nan) for name, s in zip(methods, seconds, strict=True)},
        short=short,
        simulate=True,
        epochs=1,
        pretraining=0,
        apart="of a GeForce RTX 2080",
    )


_TABLE_S6 = {
    "fashion-mnist": _times(
        "fashion-mnist", "fashion-mnist", (500, 130, 500, 370, 4, 370), SHORT_SAMPLES
    ),
    "mnist-autoencoder": _times(
        "mnist-autoencoder", "mnist", (1500, 450, 1500, 1350, 300, 1350), _SHORT_AUTOENCODER
    ),
}

ITEMS: tuple[Item, ...] = (
    TheoryFigure("dfc/fig2", "Feedback that satisfies Conditions 2 and 3", figure="2"),
    TheoryFigure("dfc/fig3", "Student and teacher: conditions, alignment, stability", figure="3"),
    TheoryFigure("dfc/fig4", "Alignment for other lambda and alpha", figure="4"),
    TrainingTable(
        "dfc/table1",
        "Test errors and losses on MNIST and Fashion-MNIST",
        seeds=5,
        methods=_METHODS,
        columns=_TABLE1,
    ),
    TrainingTable(
        "dfc/table-s5",
        "Least training losses of the trainings of table 1",
        seeds=5,
        methods=_METHODS,
        columns=_TABLE_S5,
    ),
    TheoryFigure("dfc/s2", "Stability during learning, without the proportional part", figure="s2"),
    TheoryFigure("dfc/s3", "Feedback learning and its damping", figure="s3"),
    TheoryFigure("dfc/s4", "Feedback learning for other leaks", figure="s4"),
    TheoryFigure("dfc/s5", "Feedback learning for other proportional gains", figure="s5"),
    TrainingTable(
        "dfc/table2",
        "Test errors on MNIST for other lambda and alpha",
        seeds=5,
        methods=_METHODS,
        columns=_TABLE2,
    ),
    AngleFigure(
        "dfc/s1",
        "Alignment with the linear and the nonlinear rule, toy",
        source=_RULES,
        seeds=1,
        shown="GN",
        judge=linear_rule,
    ),
    *_angle_figures(),
    ImagesFigure(
        "dfc/s14",
        "Images of the autoencoders",
        column=_AUTOENCODER,
        methods={name: _METHODS[name] for name in ("bp", "dfc-ssa", "dfc-ssa-fixed", "dfa")},
    ),
    TrainingTable(
        "dfc/table-s1",
        "Test errors of DTP and DDTP-linear on the networks of table 1",
        seeds=5,
        methods={name: Method(name) for name in ("dtp", "ddtp-linear")},
        columns=_TABLE_S1,
    ),
    ComparedTable(
        "dfc/table-s6",
        "Run times of an epoch",
        seeds=1,
        methods=_METHODS,
        columns=_TABLE_S6,
        comparisons=[
            Comparison(
                f"{column}, {what} feedback: DFC-SSA takes less time than DFC and DFC-SS",
                less=[f"{column}/dfc-ssa{end}"],
                more=[f"{column}/dfc{end}", f"{column}/dfc-ss{end}"],
            )
            for column in _TABLE_S6
            for what, end in (("learned", ""), ("fixed", "-fixed"))
        ]
        + [
            Comparison(
                f"{column}: fixed feedback takes less time than learned",
                less=[f"{column}/{name}-fixed"],
                more=[f"{column}/{name}"],
            )
            for column in _TABLE_S6
            for name in ("dfc-ssa",)
        ],
    ),
)
"""In the order of the text."""
