"""Figures and notes of the supplement of Lillicrap et al. 2016, with the claims of its captions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analogdfc.experiments.alignment_tasks import (
    FlowRun,
    FrozenRun,
    LinearRun,
    MomentumRun,
    SmallWeightsRun,
    SwitchRun,
    XorRun,
)
from analogdfc.experiments.results import Curves, CurvesRun, values
from analogdfc.reproduction.claims import Claim, ClaimsFigure, Drawn
from analogdfc.reproduction.items import Item

__all__ = ["ITEMS"]

_WORSE = 1.2
"""Ratio of two errors from which one is much worse."""

_SOLVED = 0.02
_NEAR = 1e-3
_LITTLE = 0.2
_NONE = 1e-6
"""Normalised squared error below which there is nothing left to learn."""


def _last(curves: Curves, name: str) -> float:
    return float(values(curves, name)[-1])


def _frozen(seed: int, quick: bool) -> list[CurvesRun]:
    return [FrozenRun(seed=seed, steps=40 if quick else 4000)]


def _judge_frozen(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    claims = []
    for rule in ("fa", "bp"):
        names = [f"{rule}, {k}" for k in ("four layers", "first frozen", "three layers")]
        ends = {name: _last(curves, name) for name in names}
        learned, frozen, shallow = ends.values()
        claims += [
            Claim(
                f"{rule}: with the first layer frozen the network does much worse (1.2 times the "
                "error or more)",
                "1",
                ends,
                frozen > _WORSE * learned,
            ),
            Claim(
                f"{rule}: the frozen network does worse than one of three layers that learns",
                "1",
                ends,
                frozen > shallow,
            ),
        ]
    return claims


def _xor(seed: int, quick: bool) -> list[CurvesRun]:
    return [XorRun(seed=seed, steps=30, starts=2) if quick else XorRun(seed=seed)]


def _judge_xor(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    small = {r: values(curves, f"loss 2-2-1, {r}") for r in ("fa", "bp")}
    shares = {f"share of starts, {r}": float((v < _SOLVED).mean()) for r, v in small.items()}
    after = values(curves, "angle 2-2-1")
    wide = {r: _last(curves, f"loss 2-25-1, {r}") for r in ("fa", "bp")}
    before, end = values(curves, "angle 2-25-1")
    return [
        Claim(
            "both rules find solutions of XOR in a 2-2-1 network, from the printed output weights "
            "and some first layers",
            "1",
            shares,
            min(shares.values()) > 0,
        ),
        Claim(
            "there the output weights come into better alignment with B (printed: 5 degrees)",
            "degree",
            {"mean angle": float(after.mean()) if len(after) else float("nan")},
            bool(len(after)) and float(after.mean()) < 20,
        ),
        Claim("feedback alignment solves it in 2-25-1 too", "1", wide, wide["fa"] < _SOLVED),
        Claim(
            "in 2-25-1 the forward and backward weights align clearly (by 15 degrees or more)",
            "degree",
            {"before": float(before), "after": float(end)},
            bool(end < before - 15),
        ),
    ]


def _momentum(seed: int, quick: bool) -> list[CurvesRun]:
    return [MomentumRun(seed=seed, steps=40) if quick else MomentumRun(seed=seed)]


def _judge_momentum(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    # Updates, in units of the curve's points, until feedback alignment's last error is reached.
    goal = _last(curves, "momentum 0")
    when = {
        f"alpha {a:g}": 20.0 * int(np.argmax(values(curves, f"momentum {a:g}") <= goal))
        for a in (0.0, 0.5, 0.9)
    }
    return [
        Claim(
            "momentum speeds feedback alignment up significantly (to the error that it has at the "
            "end without, 1.5 times as fast with 0.5, 4 times with 0.9)",
            "update",
            when,
            when["alpha 0.5"] * 1.5 < when["alpha 0"] and when["alpha 0.9"] * 4 < when["alpha 0"],
        )
    ]


def _switch(seed: int, quick: bool) -> list[CurvesRun]:
    return [SwitchRun(seed=seed, steps=40) if quick else SwitchRun(seed=seed)]


def _judge_switch(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    first, then = values(curves, "bp"), values(curves, "fa")
    numbers = {
        "start": float(first[0]),
        "minimum of bp": float(first[-1]),
        "peak of fa": float(then.max()),
        "end of fa": float(then[-1]),
    }
    return [
        Claim(
            "near a minimum of backpropagation the error rises sharply after the switch (to 1.5 "
            "times or more)",
            "1",
            numbers,
            bool(then.max() > 1.5 * first[-1]),
        ),
        Claim(
            "feedback alignment recovers and finds another configuration of low error (half of "
            "the peak or less, and below half of the start)",
            "1",
            numbers,
            bool(then[-1] < 0.5 * then.max() and then[-1] < 0.5 * first[0]),
        ),
    ]


def _turns(seed: int, quick: bool) -> list[CurvesRun]:
    short = 5 if quick else 50  # updates of one turn
    return [
        *(LinearRun(seed=seed, turns=t, rate=0.01, steps=2 * t * short) for t in (1, 4)),
        LinearRun(seed=seed, steps=8 * short),
    ]


def _while_learning(curves: Curves) -> NDArray[np.float64]:
    """tr(A^T B E) after the first steps, as long as there is an error to speak of."""
    traces, error = values(curves, "trace_abe")[5:], values(curves, "error")[5:]
    return traces[error > _NONE]


def _judge_turns(found: Sequence[Curves]) -> list[Claim]:
    once, often, together = found
    half = len(values(once, "error")) // 2
    error, abe, bw = (values(once, n) for n in ("error", "trace_abe", "trace_bw"))
    grown = {
        "error left": float(error[half].mean()),
        "smallest tr(A^T B E)": float(abe[half].min()),
        "largest |tr(BW)|": float(np.abs(bw[half]).max()),
    }
    then = {
        "smallest tr(BW) at the end": float(bw[-1].min()),
        "mean at the start": float(bw[0].mean()),
    }
    turn = (len(values(often, "error")) - 1) // 8
    dropped = values(often, "error")[2 * turn] - values(often, "error")[3 * turn]
    late = _while_learning(together)
    return [
        Claim(
            "while A alone learns, the error changes little (by a fifth or less), and tr(A^T B E) "
            "becomes positive in all networks",
            "1",
            grown,
            bool(grown["error left"] > 1 - _LITTLE and abe[half].min() > 0),
        ),
        Claim(
            "when W learns then, tr(BW) grows to positive in all networks",
            "1",
            then,
            bool(bw[-1].min() > max(0.0, float(np.abs(bw[half]).max()))),
        ),
        Claim(
            "in turns: in its second turn A lowers the error by itself, in all networks",
            "1",
            {"smallest drop": float(dropped.min())},
            bool(dropped.min() > 0),
        ),
        Claim(
            "together: tr(A^T B E) stays positive, and tr(BW) ends positive, in all networks",
            "1",
            {
                "smallest tr(A^T B E)": float(late.min()),
                "smallest tr(BW)": float(values(together, "trace_bw")[-1].min()),
                "largest error left": float(values(together, "error")[-1].max()),
            },
            bool(late.min() > 0 and values(together, "trace_bw")[-1].min() > 0),
        ),
    ]


def _larger(seed: int, quick: bool) -> list[CurvesRun]:
    steps = 40 if quick else 400
    return [
        LinearRun(seed=seed, steps=steps),
        LinearRun(seed=seed, sizes=(100, 50, 20), rate=0.01, steps=steps),
    ]


def _judge_larger(found: Sequence[Curves]) -> list[Claim]:
    spreads = {}
    for curves, size in zip(found, ("30-20-10", "100-50-20"), strict=True):
        end = values(curves, "trace_bw")[-1]
        spreads[size] = float(end.std(ddof=1) / end.mean())
    large = found[1]
    late = _while_learning(large)
    return [
        Claim(
            "identical trends in the larger network: tr(A^T B E) stays positive, tr(BW) ends "
            "positive, the error vanishes, in all networks",
            "1",
            {
                "smallest tr(A^T B E)": float(late.min()),
                "smallest tr(BW)": float(values(large, "trace_bw")[-1].min()),
                "largest error left": float(values(large, "error")[-1].max()),
            },
            bool(late.min() > 0 and values(large, "trace_bw")[-1].min() > 0)
            and float(values(large, "error")[-1].max()) < 0.01,
        ),
        Claim(
            "the larger network varies less (standard deviation of tr(BW) at the end over its "
            "mean)",
            "1",
            spreads,
            spreads["100-50-20"] < spreads["30-20-10"],
        ),
    ]


def _small(seed: int, quick: bool) -> list[CurvesRun]:
    run = SmallWeightsRun(seed=seed)
    if quick:
        run = SmallWeightsRun(seed=seed, count=2, spreads=(0.0001, 0.25), left=0.5)
    return [run]


def _judge_small(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    spreads = values(curves, "spread")
    to_bp, to_pbp = (values(curves, f"angle to {n}") for n in ("backprop", "pseudobackprop"))
    ends = {
        "to backprop": float(to_bp[0]),
        "to pseudobackprop": float(to_pbp[0]),
        "largest weight": float(spreads[0]),
    }
    return [
        Claim(
            "from small weights the updates are close to pseudobackprop's (below 15 degrees), "
            "closer than to backprop's",
            "degree",
            ends,
            bool(to_pbp[0] < 15 and to_pbp[0] < to_bp[0]),
        ),
        Claim(
            "the larger the weights start, the farther from pseudobackprop",
            "degree",
            {f"spread {s:g}": float(a) for s, a in zip(spreads, to_pbp, strict=True)},
            all(b > a - 0.5 for a, b in pairwise(to_pbp)) and bool(to_pbp[-1] > to_pbp[0] + 10),
        ),
    ]


def _flow(seed: int, quick: bool) -> list[CurvesRun]:
    return [FlowRun(seed=seed, side=11, steps=400) if quick else FlowRun(seed=seed)]


def _judge_flow(found: Sequence[Curves]) -> list[Claim]:
    (curves,) = found
    error, bad = values(curves, "error"), values(curves, "bad") > 0.5
    near, bad_near = values(curves, "error near zero"), values(curves, "bad near zero") > 0.5
    share = {"share": float(bad.mean()), "share of ends at AW = T": float((error < _NEAR).mean())}
    return [
        Claim(
            "from a small region only, the system travels to the bad hyperbola, where W B < 0 "
            "(less than a fifth of the square from -2 to 2)",
            "1",
            share,
            bool(0 < bad.mean() < _LITTLE),
        ),
        Claim(
            "that is avoided by starting near 0: all 100 starts end at AW = T with W B > 0",
            "1",
            {"largest error": float(near.max()), "share that ends there": float(bad_near.mean())},
            bool(near.max() < _NEAR and not bad_near.any()),
        ),
    ]


ITEMS: tuple[Item, ...] = (
    ClaimsFigure(
        "fa/s6",
        "Does feedback alignment teach the first layer? 30-40-10-10, frozen and not",
        seeds=5,
        make=_frozen,
        judge=_judge_frozen,
        cost=(20.0, 0.3),
        drawn=[
            Drawn(
                [f"{r}, {k}" for k in ("four layers", "first frozen", "three layers")],
                "100 updates",
                "normalised squared error (1)",
                log=True,
            )
            for r in ("fa", "bp")
        ],
    ),
    ClaimsFigure(
        "fa/s7",
        "XOR in 2-2-1 and 2-25-1",
        seeds=3,
        make=_xor,
        judge=_judge_xor,
        cost=(25.0, 0.2),
        drawn=[
            Drawn(["loss 2-25-1, fa", "loss 2-25-1, bp"], "update", "squared error (1)", log=True)
        ],
    ),
    ClaimsFigure(
        "fa/s8",
        "Feedback alignment with momentum",
        seeds=3,
        make=_momentum,
        judge=_judge_momentum,
        cost=(2.0, 0.2),
        drawn=[
            Drawn(
                ["momentum 0", "momentum 0.5", "momentum 0.9"],
                "20 updates",
                "normalised squared error (1)",
                log=True,
            )
        ],
    ),
    ClaimsFigure(
        "fa/s10",
        "Flow of three neurons, and where it ends",
        seeds=1,
        make=_flow,
        judge=_judge_flow,
        cost=(2.0, 0.1),
        drawn=[Drawn(["error near zero"], "start", "|T - AW| at the end (1)")],
    ),
    ClaimsFigure(
        "fa/s11",
        "Learning A and W in turn and together, 30-20-10",
        seeds=1,
        make=_turns,
        judge=_judge_turns,
        cost=(3.0, 0.3),
        drawn=[
            Drawn(["trace_abe"], "step", "tr(A$^T$BE) (1)"),
            Drawn(["trace_bw"], "step", "tr(BW) (1)"),
            Drawn(["error"], "step", "normalised squared error (1)", log=True),
        ],
    ),
    ClaimsFigure(
        "fa/s12",
        "The same together, 100-50-20",
        seeds=1,
        make=_larger,
        judge=_judge_larger,
        cost=(15.0, 1.0),
        drawn=[
            Drawn(["trace_abe"], "step", "tr(A$^T$BE) (1)"),
            Drawn(["trace_bw"], "step", "tr(BW) (1)"),
        ],
    ),
    ClaimsFigure(
        "fa/s13",
        "Small initial weights and the pseudoinverse",
        seeds=1,
        make=_small,
        judge=_judge_small,
        cost=(5.0, 0.2),
        drawn=[
            Drawn(
                ["angle to backprop", "angle to pseudobackprop"],
                "initial weights, from small to large",
                "angle (degree)",
            )
        ],
    ),
    ClaimsFigure(
        "fa/s14",
        "From backpropagation to feedback alignment near a minimum",
        seeds=3,
        make=_switch,
        judge=_judge_switch,
        cost=(2.0, 0.1),
        drawn=[Drawn(["bp", "fa"], "update", "mean squared error (1)", log=True)],
    ),
)
"""In the order of the text."""
