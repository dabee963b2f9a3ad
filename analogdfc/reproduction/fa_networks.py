"""Lillicrap et al. 2016: what the supplement says of the main text's networks and of larger ones.

The main text isn't among the five texts. Its tasks are done as the supplement, and the papers that
cite their settings, describe them; claims and numbers are the supplement's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analogdfc.experiments.alignment_networks import LinearTaskRun, NeuronsRun
from analogdfc.experiments.results import Curves, CurvesRun, values
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.claims import Claim, ClaimsFigure, Drawn
from analogdfc.reproduction.comparisons import ComparedTable, Comparison
from analogdfc.reproduction.images import FieldsFigure
from analogdfc.reproduction.items import Item
from analogdfc.reproduction.tables import TrainingTable

__all__ = ["ITEMS"]

_SOLVED = 0.01
_MEANINGFUL = 45.0
_DROPPED = 0.2
_SYMMETRIC, _SHIFTED, _MOST = 2.0, 15.0, 0.8


def _linear(seed: int, quick: bool) -> list[CurvesRun]:
    return [LinearTaskRun(seed=seed, steps=60) if quick else LinearTaskRun(seed=seed)]


def _judge_linear(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    ends = {rule: float(values(curves, f"error, {rule}")[-1]) for rule in ("bp", "fa")}
    angles = values(curves, "angle")
    return [
        Claim(
            "feedback alignment learns the linear function to the end, as backpropagation does "
            "(note 11; 1 % of the error left, or less)",
            "1",
            ends,
            max(ends.values()) < _SOLVED,
        ),
        Claim(
            "W aligns with B^T, which makes the error signals through B meaningful (note 12): "
            "hidden updates come within 45 degrees of backpropagation's",
            "degree",
            {"start": float(angles[0]), "end": float(angles[-1])},
            bool(angles[-1] < _MEANINGFUL),
        ),
    ]


def _neurons(seed: int, quick: bool) -> list[CurvesRun]:
    run = NeuronsRun(seed=seed)
    if quick:
        run = NeuronsRun(seed=seed, steps=40, hidden=100, samples=800, every=10)
    return [run]


def _judge_neurons(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    error, before, after = (values(curves, name) for name in ("error", "before", "after"))
    first = {"mean": float(before.mean()), "median": float(np.median(before))}
    most = float(np.quantile(after, _MOST))
    then = {"mean": float(after.mean()), f"{_MOST:.0%} are below": most}
    return [
        Claim(
            "a: the normalised squared error drops (to a fifth or less)",
            "1",
            {"start": float(error[0]), "end": float(error[-1])},
            bool(error[-1] < _DROPPED * error[0]),
        ),
        Claim(
            "b: before learning the angles between both pathways of hidden neurons are distributed "
            "evenly around 90 degrees (mean and median within 2)",
            "degree",
            first,
            max(abs(middle - 90) for middle in first.values()) < _SYMMETRIC,
        ),
        Claim(
            "b: after learning the distribution has shifted towards 0 (mean by 15 degrees or more, "
            "and four of five neurons below 90)",
            "degree",
            then,
            then["mean"] < first["mean"] - _SHIFTED and most < 90,
        ),
    ]


_RULES = {"bp": Method("bp"), "fa": Method("fa")}


def _classes(preset: str, **percent: float) -> Column:
    """Test errors on MNIST that note 5 prints, means of five repeats without their spread."""
    values = {name.replace("_", "-"): (p, math.nan) for name, p in percent.items()}
    return Column(preset=preset, figure="test error", dataset="mnist", values=values)


def _images(preset: str, **loss: float) -> Column:
    """Squared errors of autoencoders that note 9 prints, of one training each."""
    return Column(
        preset=preset,
        figure="test loss, sum over outputs",
        dataset="mnist",
        values={name: (value, math.nan) for name, value in loss.items()},
        apart="over what its squares are summed isn't printed",
    )


ITEMS: tuple[Item, ...] = (
    ClaimsFigure(
        "fa/fig2",
        "Linear task 30-20-10 of the main text, as later papers describe it",
        seeds=5,
        make=_linear,
        judge=_judge_linear,
        cost=(1.1, 0.1),
        drawn=[
            Drawn(["error, bp", "error, fa"], "20 samples", "normalised squared error", log=True),
            Drawn(["angle"], "20 samples", "angle to the hidden updates of bp (degree)"),
        ],
    ),
    FieldsFigure(
        "fa/s5",
        "Receptive fields on MNIST, 784-1000-10",
        column=Column(preset="fa-mnist", figure="test error", dataset="mnist", values={}),
        methods=_RULES,
    ),
    ClaimsFigure(
        "fa/s9",
        "20-1000-20 on a quadratic function: alignment neuron by neuron",
        seeds=3,
        make=_neurons,
        judge=_judge_neurons,
        cost=(11.0, 0.1),
        drawn=[
            Drawn(["error"], "100 updates", "normalised squared error (1)", log=True),
            Drawn(["before", "after"], "hidden neuron", "angle of both pathways (degree)"),
        ],
    ),
    ComparedTable(
        "fa/note5",
        "Larger and deeper networks on MNIST",
        seeds=5,
        printed=1,
        methods={
            **_RULES,
            "fa-dropout": Method("fa", variant="-dropout"),
            "fa-piecewise": Method("fa", variant="-piecewise"),
        },
        columns={
            "1000": _classes("fa-mnist", fa=2.1),
            "3x1500": _classes(
                "fa-mnist-3x1500", bp=1.62, fa=1.32, fa_dropout=1.2, fa_piecewise=1.1
            ),
            "10x1000": _classes("fa-mnist-10x1000", bp=1.65, fa=1.45),
        },
        comparisons=[
            Comparison(
                f"{column}: feedback alignment makes fewer errors than backpropagation",
                less=[f"{column}/fa"],
                more=[f"{column}/bp"],
            )
            for column in ("3x1500", "10x1000")
        ],
    ),
    TrainingTable(
        "fa/note6",
        "SVHN, 1024-3000-3000-3000-3000-10",
        seeds=3,
        printed=1,
        methods={"fa": _RULES["fa"]},
        columns={
            "svhn": Column(
                preset="fa-svhn",
                figure="test error",
                dataset="svhn",
                values={"fa": (9.7, math.nan)},
            )
        },
    ),
    ComparedTable(
        "fa/note7",
        "Stop consonants of TIMIT, 39-1000-1000-6",
        seeds=3,
        printed=1,
        methods=_RULES,
        columns={
            "timit-stops": Column(
                preset="fa-timit",
                figure="test error",
                dataset="timit-stops",
                values={"bp": (24.3, math.nan), "fa": (23.1, math.nan)},
            )
        },
        comparisons=[
            Comparison(
                "feedback alignment performs better than backpropagation",
                less=["timit-stops/fa"],
                more=["timit-stops/bp"],
            )
        ],
    ),
    ComparedTable(
        "fa/note9",
        "Narrow and wide autoencoders on MNIST",
        seeds=1,
        methods=_RULES,
        columns={
            "narrow": _images("fa-autoencoder-narrow", bp=8.6, fa=30.2),
            "wide": _images("fa-autoencoder-wide", bp=1.5, fa=0.72),
        },
        comparisons=[
            Comparison(
                "narrow: backpropagation is significantly better (half of the error or less; "
                "printed: 0.28)",
                less=["narrow/bp"],
                more=["narrow/fa"],
                factor=0.5,
            ),
            Comparison(
                "wide: feedback alignment outperforms backpropagation (printed: 0.48 of its error)",
                less=["wide/fa"],
                more=["wide/bp"],
            ),
        ],
    ),
)
"""In the order of the text."""
