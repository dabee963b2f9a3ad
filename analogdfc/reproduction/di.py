"""Figures of Podlaski and Machens 2020, with the claims of its captions and text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analogdfc.experiments import inversion_nonlinear as nonlinear
from analogdfc.experiments.inversion_tasks import NAMES, InversionRun
from analogdfc.experiments.results import Curves, CurvesRun, Values, values
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.claims import Claim, ClaimsFigure, Drawn
from analogdfc.reproduction.comparisons import ComparedTable, Comparison
from analogdfc.reproduction.items import Item
from analogdfc.reproduction.tables import TrainingTable

__all__ = ["ITEMS"]

_REFERENCES = ("BP", "FA")
_EVERY = 20  # examples between two points of a curve
_SOLVED = 0.01
_CLOSE = 15.0
_SETTLING = 100
"""Examples in which the loops may be unstable."""


def _runs(seed: int, quick: bool) -> list[CurvesRun]:
    return [
        InversionRun(rule=rule, normed=normed, seed=seed, steps=60 if quick else steps)
        for normed, steps in ((False, 2000), (True, 4000))
        for rule in NAMES
    ]


def _until(nmse: Values, left: float) -> float:
    """Examples until so little of the error is left."""
    below = np.flatnonzero(nmse < left)
    return float(_EVERY * below[0]) if len(below) else math.inf


def _judge(found: Sequence[Curves]) -> list[Claim]:
    count = len(NAMES)
    rate = dict(zip(NAMES, found[:count], strict=True))
    norm = dict(zip(NAMES, found[count:], strict=True))
    inversions = [name for name in NAMES if name not in _REFERENCES]
    ends = {name: float(values(c, "nmse")[-1]) for name, c in rate.items()}
    times = {name: _until(values(c, "nmse"), _SOLVED) for name, c in norm.items()}
    slow = min(times[name] for name in _REFERENCES)
    dynamic = [name for name in NAMES if name.startswith("DI")]
    stable = {n: float(_settled(values(norm[n], "abscissa")).max()) for n in dynamic}
    near = {n: _median(values(norm[n], "to ndi")) for n in dynamic}
    learned = [n for n in inversions if n != "PBP"]
    angles = {n: float(values(norm[n], "feedback")[-1]) for n in learned}
    to_pbp = {
        n: float(np.median(_tail(values(norm[n], "to pbp")))) for n in (*_REFERENCES, *learned)
    }
    return [
        Claim(
            "a: all algorithms solve the task (1 % of the error left, or less)",
            "1",
            ends,
            all(end < _SOLVED for end in ends.values()),
        ),
        Claim(
            "b: with updates of fixed norm DI, NDI and PBP converge faster than BP and FA; "
            "examples until 1 % is left",
            "example",
            times,
            max(times[name] for name in inversions) < slow,
        ),
        Claim(
            "c: after the first 100 examples dynamic inversion stays stable: largest real part",
            "1",
            stable,
            all(part < 0 for part in stable.values()),
        ),
        Claim(
            "d: its updates are well aligned with the non-dynamic ones (within 5 degrees, median "
            "of the simulations that come to rest)",
            "degree",
            near,
            all(angle < 5 for angle in near.values()),
        ),
        Claim(
            "e: B settles to around 45 degrees of -W^T for all of DI and NDI (30 to 60)",
            "degree",
            angles,
            all(30 < a < 60 for a in angles.values()),
        ),
        Claim(
            "f: which aligns their errors with PBP's (within 45 degrees, and more than BP's and "
            "FA's)",
            "degree",
            to_pbp,
            all(to_pbp[n] < min(45.0, *(to_pbp[m] for m in _REFERENCES)) for n in learned),
        ),
    ]


def _nonlinear_runs(seed: int, quick: bool) -> list[CurvesRun]:
    run = nonlinear.NonlinearRun(rule="", seed=seed)
    if quick:
        run = replace(run, steps=10, simulated=50)
    return [replace(run, rule=name) for name in nonlinear.NAMES]


def _judge_nonlinear(found: Sequence[Curves]) -> list[Claim]:
    of = dict(zip(nonlinear.NAMES, found, strict=True))
    ends = {name: float(values(c, "nmse")[-1]) for name, c in of.items()}
    dynamic = [name for name in of if name.startswith("DI")]
    single = nonlinear.NAMES[-1]
    stable = {n: float(values(of[n], "abscissa").max()) for n in dynamic}
    changed = [float(np.ptp(values(of[n], "changed"))) for n in dynamic]
    off = {n: _median(values(of[n], "to ndi")) for n in (*dynamic, single)}
    leaky = [n for n in dynamic if not n.endswith(" 0")]
    feedback = {
        f"{n}, layer {layer}": float(values(of[n], f"feedback {layer}")[-1])
        for n in of
        if n.startswith(("DI", "NDI"))
        for layer in (2, 3)
    }
    return [
        Claim(
            "g: all inversion algorithms finish with a smaller error than BP and FA",
            "1",
            ends,
            max(ends[n] for n in of if n not in _REFERENCES) < min(ends[n] for n in _REFERENCES),
        ),
        Claim(
            "h: dynamic inversion remains stable throughout, with no feedback changed once it "
            "learns: largest real part",
            "1",
            stable,
            all(part < 0 for part in stable.values()) and not any(changed),
        ),
        Claim(
            "i: its updates closely follow the non-dynamic ones, except without leak (first layer, "
            "median below 15 degrees with leak, above without)",
            "degree",
            {n: off[n] for n in dynamic},
            all((off[n] < _CLOSE) == (n in leaky) for n in dynamic),
        ),
        Claim(
            "j: some layers' B settle to around 45 degrees of -W^T (30 to 60), others stay close "
            "to 0 (below 15)",
            "degree",
            feedback,
            any(30 < a < 60 for a in feedback.values())
            and any(a < _CLOSE for a in feedback.values()),
        ),
        Claim(
            "k: a single loop gives very different updates (three times the angle of dynamic "
            "inversion with leak, and 30 degrees or more)",
            "degree",
            {n: off[n] for n in (*leaky, single)},
            off[single] > max(30.0, *(3 * off[n] for n in leaky)),
        ),
    ]


def _settled(curve: Values) -> Values:
    """The curve after the first examples."""
    return curve[min(_SETTLING // _EVERY, len(curve) - 1) :]


def _tail(curve: Values) -> Values:
    """The last fifth of a curve."""
    return curve[-max(len(curve) // 5, 1) :]


def _median(curve: Values) -> float:
    """Median of the finite numbers; nan where there are none."""
    known = curve[np.isfinite(curve)]
    return float(np.median(known)) if len(known) else math.nan


ITEMS: tuple[Item, ...] = (
    ClaimsFigure(
        "di/fig3",
        "Linear regression by dynamic inversion, 30-20-10 (parts a to f)",
        seeds=3,
        make=_runs,
        judge=_judge,
        cost=(90.0, 2.0),
        drawn=[
            Drawn(["nmse"], "20 examples", "normalised squared error (1)", log=True),
            Drawn(["feedback"], "20 examples", "angle between B and -W$^T$ (degree)"),
        ],
    ),
    ClaimsFigure(
        "di/fig3-nonlinear",
        "Nonlinear regression by dynamic inversion, 30-20-10-10 (parts g to k)",
        seeds=3,
        make=_nonlinear_runs,
        judge=_judge_nonlinear,
        cost=(600.0, 1.0),
        drawn=[
            Drawn(["nmse"], "20 examples", "normalised squared error (1)", log=True),
            Drawn(["to ndi"], "20 examples", "angle to non-dynamic inversion (degree)"),
            Drawn(
                ["feedback 2", "feedback 3"], "20 examples", "angle between B and -W$^T$ (degree)"
            ),
        ],
    ),
    TrainingTable(
        "di/fig4",
        "Test errors on MNIST by non-dynamic inversion, 784-1000-10 (part a)",
        seeds=3,
        printed=1,
        methods={
            **{name: Method(name) for name in ("bp", "fa", "pbp", "ndi")},
            "ndi-random": Method("ndi", variant="-random"),
        },
        columns={
            "mnist": Column(
                preset="di-mnist",
                figure="test error",
                dataset="mnist",
                values={
                    name: (percent, math.nan)
                    for name, percent in (
                        ("bp", 1.9),
                        ("fa", 1.7),
                        ("pbp", 2.7),
                        ("ndi", 2.7),
                        ("ndi-random", 2.7),
                    )
                },
            )
        },
    ),
    ComparedTable(
        "di/fig4-autoencoder",
        "MNIST autoencoder by non-dynamic inversion (part b)",
        seeds=3,
        methods={name: Method(name) for name in ("bp", "fa", "pbp", "ndi")},
        columns={
            start: Column(
                preset=preset,
                figure="training loss",
                dataset="mnist",
                values=dict.fromkeys(("bp", "fa", "pbp", "ndi"), (math.nan, math.nan)),
            )
            for start, preset in (
                ("random", "di-autoencoder"),
                ("orthogonal", "di-autoencoder-orthogonal"),
            )
        },
        comparisons=[
            Comparison(
                "BP learns only from orthogonal weights (at most 0.8 of its error from random "
                "ones)",
                less=["orthogonal/bp"],
                more=["random/bp"],
                factor=0.8,
            ),
            Comparison(
                "PBP and NDI perform decently from random weights (at most 0.8 of BP's error)",
                less=["random/pbp", "random/ndi"],
                more=["random/bp"],
                factor=0.8,
            ),
            Comparison(
                "they are slower from orthogonal ones",
                less=["random/pbp", "random/ndi"],
                more=["orthogonal/pbp", "orthogonal/ndi"],
            ),
            *(
                Comparison(
                    f"FA performs poorly, {start} weights: worse than PBP and NDI",
                    less=[f"{start}/pbp", f"{start}/ndi"],
                    more=[f"{start}/fa"],
                )
                for start in ("random", "orthogonal")
            ),
            *(
                Comparison(
                    f"BP from orthogonal and NDI from random weights end alike ({a} at most 1.25 "
                    f"times {b})",
                    less=[a],
                    more=[b],
                    factor=1.25,
                )
                for a, b in (("orthogonal/bp", "random/ndi"), ("random/ndi", "orthogonal/bp"))
            ),
        ],
    ),
)
"""In the order of the text."""
