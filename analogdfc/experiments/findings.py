"""What the experiments show, beside what the paper says."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from analogdfc.experiments.claims import (
    ALL_OF_TRAINING,
    FEEDBACK,
    PRETRAINING,
    SWEEP,
    TRAINING,
    Finding,
    judged,
)
from analogdfc.experiments.plan import (
    ACTIVATIONS,
    ALPHA,
    CONTROLLED,
    LAMBDA,
    PER_SAMPLE,
    S3,
    S4,
    S5,
    Plan,
)
from analogdfc.experiments.results import Curves, Results, Values, by_value, ends, learned, values

_KINDS = ("trained", "fixed")

_ROBUST = 5.0  # degrees by which an angle that is robust may vary
_ALIGNED = 15.0  # degrees within which feedback is aligned
_REACHED = 20.0  # degrees at which the speed of alignment is read
_ANALYTIC = 10.0  # degrees within which an update is that of the linearised steady state
_EQUAL = 0.5  # ratio of Condition 1 below which the norms are crudely equal


def find(figure: str, results: Results, plan: Plan | None = None) -> list[Finding]:
    """Compare the results that belong to a figure with the paper.

    Args:
        figure: one of `analogdfc.experiments.FIGURES`.
        results: curves by the name of their run; every run of the figure is needed.
        plan: what was run; by default the full one, which is long enough for all verdicts.

    Returns:
        The paper's statements with their numbers. 'start' and 'end' are means over the first and
        the last tenth of the epochs. Where the plan is too short for a statement, there is no
        verdict.
    """
    finders: dict[str, Callable[[Results], list[Finding]]] = {
        "2": _configurations,
        "3": _learning,
        "4": _sweeps,
        "s2": _stability,
        "s3": _dampings,
        "s4": _leaks,
        "s5": _gains,
    }
    return [judged(finding, plan or Plan()) for finding in finders[figure](results)]


def _configurations(results: Results) -> list[Finding]:
    curves = results["configurations"]
    ratio, growth = values(curves, "condition2"), values(curves, "condition3")
    spread, extent = float(np.median(values(curves, "angle"))), float(values(curves, "extent"))
    return [
        Finding(
            "2",
            "random J^T M can meet Conditions 2 and 3",
            {
                "smallest ratio of Condition 2": float(ratio.min()),
                "largest Re of -JQ": float(growth.max()),
                "share of J^T M": float(values(curves, "accepted")),
            },
            "1",
            bool(ratio.min() > 1 - 1e-9 and growth.max() < 0),
        ),
        Finding(
            "2",
            "they span a wider space than J^T ... J^+",
            {"median angle to the nearest": spread, "J^T to J^+": extent},
            "deg",
            spread > extent,
        ),
    ]


def _toy(results: Results, method: str, kind: str, name: str) -> Values:
    return values(results[f"toy/{method} {kind}"], name)


def _learning(results: Results) -> list[Finding]:
    return [
        *_stopped(results),
        *_ratios(results),
        *_angles(results, "mn_angle", "B: angle to MN"),
        _condition1(results),
        *_angles(results, "gn_angle", "D: angle to GN"),
        _stable(results, "3", "E: ", "a_pi"),
        _analytic(results),
    ]


def _ratios(results: Results) -> list[Finding]:
    before = float(values(results["toy/dfc trained"], "condition2_random"))
    start, end = (
        {
            f"{m} {k}": ends(_toy(results, m, k, "condition2"))[at]
            for m in CONTROLLED
            for k in _KINDS
        }
        for at in (0, 1)
    )
    both = {
        kind: {f"{n} {at}": v[n] for n in start if kind in n for at, v in _named(start, end)}
        for kind in _KINDS
    }
    return [
        Finding(
            "3",
            "A: ratio of Condition 2, trained: pre-training raises it",
            {"before": before, **{n: v for n, v in start.items() if "trained" in n}},
            "1",
            all(v > before for n, v in start.items() if "trained" in n),
            needs=PRETRAINING,
        ),
        Finding(
            "3",
            "A: ratio of Condition 2, trained: from start to end",
            both["trained"],
            "1",
            None,
        ),
        Finding(
            "3",
            "A: ratio of Condition 2, end: trained above fixed",
            end,
            "1",
            all(end[f"{m} trained"] > end[f"{m} fixed"] for m in CONTROLLED),
            needs=TRAINING,
        ),
        _throughout(results),
        Finding(
            "3",
            "A: ratio of Condition 2, fixed: degrades from start to end",
            both["fixed"],
            "1",
            all(end[n] < start[n] for n in start if "fixed" in n),
            needs=TRAINING,
        ),
    ]


def _throughout(results: Results) -> Finding:
    """In which share of the epochs the ratio is above that of fixed feedback."""
    share: dict[str, float] = {}
    for m in CONTROLLED:
        both = [_toy(results, m, k, "condition2") for k in _KINDS]
        length = min(map(len, both))
        above = both[0][:length] > both[1][:length]
        share[m] = float(above.mean()) if length else math.nan
    return Finding(
        "3",
        "A: ratio of Condition 2, trained: stays above fixed; share of the epochs",
        share,
        "1",
        all(v == 1 for v in share.values()),
        needs=TRAINING,
    )


def _named(
    start: dict[str, float], end: dict[str, float]
) -> tuple[tuple[str, dict[str, float]], ...]:
    return ("start", start), ("end", end)


def _stopped(results: Results) -> list[Finding]:
    """A finding where a run of the toy experiment has diverged."""
    where = {
        f"{name} (epochs done)": float(len(values(curves, "loss")))
        for name, curves in results.items()
        if name.startswith("toy/") and "stopped" in curves
    }
    return [Finding("3", "every run reaches its end", where, "1", False)] if where else []


def _angles(results: Results, name: str, what: str) -> list[Finding]:
    """At the end, the trained variants against the fixed ones and against DFA."""
    end = {f"{m} {k}": ends(_toy(results, m, k, name))[1] for m in CONTROLLED for k in _KINDS}
    dfa = ends(_toy(results, "dfa", "random", name))[1]
    trained = {n: v for n, v in end.items() if "trained" in n}
    return [
        Finding(
            "3",
            f"{what}, end: trained below fixed",
            end,
            "deg",
            all(end[f"{m} trained"] < end[f"{m} fixed"] for m in CONTROLLED),
            needs=TRAINING,
        ),
        Finding(
            "3",
            f"{what}, end: trained below DFA",
            {**trained, "dfa": dfa},
            "deg",
            all(v < dfa for v in trained.values()),
            needs=TRAINING,
        ),
    ]


def _condition1(results: Results) -> Finding:
    end = {f"{m} trained": ends(_toy(results, m, "trained", "condition1"))[1] for m in CONTROLLED}
    return Finding(
        "3",
        f"C: Condition 1 is crudely met at the end (below {_EQUAL:g})",
        end,
        "1",
        all(v < _EQUAL for v in end.values()),
        needs=TRAINING,
    )


def _stable(results: Results, figure: str, label: str, name: str) -> Finding:
    largest = {
        f"{m} {k}": float(_toy(results, m, k, f"{name}_max").max(initial=-math.inf))
        for m in CONTROLLED
        for k in _KINDS
    }
    what = {"a_pi": "A_PI", "condition3": "-(JQ + alpha I)"}[name]
    return Finding(
        figure,
        f"{label}{what} stable throughout: largest Re < 0 in all epochs and samples",
        largest,
        "1/tau_u",
        all(-math.inf < v < 0 for v in largest.values()),
        needs=ALL_OF_TRAINING,
    )


def _analytic(results: Results) -> Finding:
    end = {
        f"{m} {k}": ends(_toy(results, m, k, "ssa_angle"))[1]
        for m in ("dfc", "dfc-ss")
        for k in _KINDS
    }
    return Finding(
        "3",
        f"F: angle to dfc-ssa's update, end: small (below {_ANALYTIC:g})",
        end,
        "deg",
        all(v < _ANALYTIC for v in end.values()),
        needs=TRAINING,
    )


def _stability(results: Results) -> list[Finding]:
    trends, unstable, late = {}, {}, []
    for m in CONTROLLED:
        for k in _KINDS:
            simple, full = (_toy(results, m, k, f"{n}_mean") for n in ("condition3", "a_pi"))
            steady = min(np.ptp(simple, axis=0), np.ptp(full, axis=0)) == 0 if len(full) else True
            trends[f"{m} {k}"] = math.nan if steady else float(np.corrcoef(simple, full)[0, 1])
            growth = _toy(results, m, k, "a_i_mean")
            above = np.flatnonzero(growth > 0)
            unstable[f"{m} {k}"] = float(above[0] + 1) if len(above) else math.inf
            late.append(ends(growth)[1])
    return [
        _stable(results, "s2", "a: ", "condition3"),
        _stable(results, "s2", "b: ", "a_pi"),
        Finding(
            "s2",
            "a, b: both follow the same trend (correlation above 0)",
            trends,
            "1",
            all(v > 0 for v in trends.values()),
            needs=TRAINING,
        ),
        Finding(
            "s2",
            "c: without k_p unstable late in training (mean Re); first unstable epoch",
            unstable,
            "epoch",
            all(v > 0 for v in late),
            needs=TRAINING,
        ),
        Finding(
            "s2",
            "c: without k_p sooner unstable with trained than with fixed feedback",
            unstable,
            "epoch",
            all(unstable[f"{m} trained"] < unstable[f"{m} fixed"] for m in CONTROLLED),
            needs=TRAINING,
        ),
    ]


def _sweeps(results: Results) -> list[Finding]:
    return [
        *_sweep(results, LAMBDA, "A: lambda, mean loss as published", 0.1),
        *_sweep(results, PER_SAMPLE, "A': lambda, each sample's loss", 0.1),
        *_sweep(results, ALPHA, "B: alpha", math.inf),
    ]


def _sweep(results: Results, group: str, label: str, bound: float) -> list[Finding]:
    """Whether the angle to MN is robust up to a bound, and larger at the largest value above it."""
    mean: dict[str, dict[float, float]] = {
        m: {
            value: float(curve.mean()) if len(curve) else math.nan
            for value, curve in by_value(results, group, m).items()
        }
        for m in CONTROLLED
    }
    inside = {m: [a for v, a in curve.items() if v <= bound] for m, curve in mean.items()}
    spread = {m: float(np.ptp(angles)) for m, angles in inside.items()}
    until = f" up to {bound:g}" if math.isfinite(bound) else ""
    statement = f"{label}: angle to MN robust{until} (varies by less than {_ROBUST:g} deg)"
    flat = all(v < _ROBUST for v in spread.values())
    robust = Finding("4", statement, spread, "deg", flat, needs=SWEEP)
    largest = max(mean[CONTROLLED[0]])
    if largest <= bound:
        return [robust]
    rise = {m: mean[m][largest] - max(angles) for m, angles in inside.items()}
    statement = f"{label}: alignment falls at {largest:g}; angle above the largest until {bound:g}"
    higher = all(v > 0 for v in rise.values())
    return [robust, Finding("4", statement, rise, "deg", higher, needs=SWEEP)]


def _final(curves: Curves) -> tuple[Values, float]:
    """Angles, one a damping, and the ratio of Condition 2, over the last tenth."""
    angles, ratio = values(curves, "angle"), values(curves, "condition2")
    count = max(1, len(angles) // 10)
    return angles[-count:].mean(axis=0), float(ratio[-count:].mean())


def _dampings(results: Results) -> list[Finding]:
    best, angle, ratio = {}, {}, {}
    for activation in ACTIVATIONS:
        (curves,) = learned(results, S3, activation).values()
        final, ratio[activation] = _final(curves)
        best[activation] = float(values(curves, "gamma")[final.argmin()])
        angle[activation] = float(final.min())
    return [
        Finding(
            "s3",
            "the damping gamma that fits best at the end is 5",
            best,
            "1",
            all(v == 5 for v in best.values()),
            needs=FEEDBACK,
        ),
        Finding(
            "s3",
            "angle at that damping: worse in the nonlinear network",
            angle,
            "deg",
            angle["tanh"] > angle["linear"],
            needs=FEEDBACK,
        ),
        Finding(
            "s3",
            "Condition 2 almost perfectly met at the end (ratio above 0.95)",
            ratio,
            "1",
            all(v > 0.95 for v in ratio.values()),
            needs=FEEDBACK,
        ),
    ]


def _leaks(results: Results) -> list[Finding]:
    end = {
        f"{activation}, {name.split(', ')[1]}": float(_final(curves)[0][0])
        for activation in ACTIVATIONS
        for name, curves in learned(results, S4, activation).items()
    }
    return [
        Finding(
            "s4",
            f"aligned for all alpha in 0 to 1 (angle at the end below {_ALIGNED:g})",
            end,
            "deg",
            all(v < _ALIGNED for v in end.values()),
            needs=FEEDBACK,
        )
    ]


def _gains(results: Results) -> list[Finding]:
    reached: dict[str, float] = {}
    agrees = True
    for activation in ACTIVATIONS:
        runs = learned(results, S5, activation)
        order = sorted(runs, key=lambda name: float(name.split(", ")[0].removeprefix("k_p ")))
        times = []
        for name in order:
            below = np.flatnonzero(values(runs[name], "angle")[:, 0] < _REACHED)
            epochs = values(runs[name], "epoch")
            times.append(float(epochs[below[0]]) if len(below) else math.inf)
            reached[f"{activation}, {name.split(', ')[0]}"] = times[-1]
        agrees &= all(b < a for a, b in pairwise(times))
    return [
        Finding(
            "s5",
            f"a larger k_p aligns faster; epochs until the angle is below {_REACHED:g} deg",
            reached,
            "epoch",
            agrees,
            needs=FEEDBACK,
        )
    ]
