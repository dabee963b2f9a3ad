"""The theory's references, measures and toy experiments against independent constructions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analogdfc.controller import PI
from analogdfc.dynamics import Loop
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.experiments import (
    FIGURES,
    Configurations,
    Curves,
    FeedbackLearning,
    Plan,
    ToyRun,
    ToySettings,
    damped_pseudoinverse,
    find,
    finite_minimum_norm_update,
)
from analogdfc.experiments.claims import FEEDBACK, PRETRAINING, SWEEP, TRAINING
from analogdfc.experiments.figures import draw, windowed
from analogdfc.experiments.measuring import measure
from analogdfc.experiments.toy import _Learner, backward, control_rule, pretrained, student
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import processes, run_tasks
from analogdfc.learning import AnalyticDFC, SleepPhase, SteadyStateDFC, minimum_norm_update
from analogdfc.measures import stability_matrix
from analogdfc.network import Network
from analogdfc.records import Quantity

LONG = TRAINING.least

TOY = ToySettings(
    teacher=(15, 8, 5),
    samples=(40, 4, 4),
    batch_size=16,
    epochs=2,
    pretraining=2,
    dt=0.05,
    steps=20,
)


def normal(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def array(curves: Curves, name: str) -> np.ndarray:
    quantity = curves[name]
    assert isinstance(quantity, Quantity)
    return quantity.values


def ignore(count: int) -> None:
    """Progress that nobody looks at."""


@given(st.integers(1, 4), st.integers(0, 3), st.floats(1e-3, 10), st.integers(0, 1000))
@settings(max_examples=20)
def test_the_damped_pseudoinverse_solves_the_ridge_problem(
    rows: int, more: int, damping: float, seed: int
) -> None:
    j = normal(seed, rows, rows + more).numpy()
    e = normal(seed + 1, rows).numpy()
    # The ridge problem min ||J v - e||^2 + gamma ||v||^2 as ordinary least squares.
    stacked = np.vstack([j, np.sqrt(damping) * np.eye(rows + more)])
    expected, *_ = scipy.linalg.lstsq(stacked, np.concatenate([e, np.zeros(rows + more)]))
    assert np.allclose(damped_pseudoinverse(j, damping) @ e, expected, atol=1e-9)


def test_without_damping_it_is_the_pseudoinverse_of_each_matrix() -> None:
    j = normal(0, 3, 2, 5).numpy()
    found = damped_pseudoinverse(j, 0.0)
    for k in range(3):
        assert np.allclose(found[k], scipy.linalg.pinv(j[k]))


def test_bad_jacobians_and_dampings_are_refused() -> None:
    with pytest.raises(UserError, match="damping = -1"):
        damped_pseudoinverse(np.eye(2), -1.0)
    with pytest.raises(ConvergenceError, match="not finite"):
        damped_pseudoinverse(np.full((2, 2), np.nan), 0.0)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_a_small_finite_step_is_the_weighted_minimum_norm_update(damping: float) -> None:
    network = Network([4, 6, 3], generator=torch.Generator().manual_seed(0))
    x, error = 2 * normal(1, 7, 4), normal(2, 7, 3)
    differences = []
    for size in (1e-3, 1e-4):
        exact = minimum_norm_update(network, x, size * error, damping, nonlinear=True)
        found = finite_minimum_norm_update(network, x, size * error, damping)
        both = zip(exact.weights + exact.biases, found.weights + found.biases, strict=True)
        differences.append(max(float((a - b).norm() / a.norm()) for a, b in both))
    assert differences[1] < 1e-3
    # What remains is the curvature of tanh, of first order in the step.
    assert differences[0] / differences[1] == pytest.approx(10, rel=0.1)


def test_a_large_finite_step_saturates() -> None:
    network = Network([4, 6, 3], generator=torch.Generator().manual_seed(0))
    x, error = normal(1, 7, 4), 1e6 * normal(2, 7, 3)
    found = finite_minimum_norm_update(network, x, error).weights[0]
    # |phi(v + Delta v) - phi(v)| <= 2
    assert float(found.abs().max()) <= 2 * float(x.abs().max())


def test_dfc_with_the_pseudoinverse_for_feedback_is_the_minimum_norm_update() -> None:
    # A single sample and a network whose J is the same everywhere.
    network = Network([4, 6, 3], activation="linear", generator=torch.Generator().manual_seed(0))
    x, y = normal(1, 1, 4), normal(2, 1, 3)
    j = torch.cat(network.jacobians(network.potentials(x)), dim=-1)[0].detach().numpy()
    q = torch.from_numpy(damped_pseudoinverse(j, 0.0))
    feedback = DirectFeedback(list(torch.split(q, [6, 3])))
    rule = AnalyticDFC(network, feedback, PI(1.5, 1e-9), target_stepsize=1e-6)
    rule.backward(x, y)
    found = measure(rule, x, y, 0.0, spectra=True)
    assert found["condition2"] == pytest.approx(1)
    assert found["mn_angle"] < 1e-3
    # J J^+ = I, so that every eigenvalue of -(J Q + alpha I) is -1 - alpha.
    assert found["condition3_mean"] == pytest.approx(-1, abs=1e-6)


def test_the_measurement_agrees_with_its_definitions_and_leaves_the_update_alone() -> None:
    toy = replace(TOY, k_p=1.5, alpha=0.01)
    network, feedback = student(toy, "random")
    x, y = normal(1, 4, 15), normal(2, 4, 5)
    rule = control_rule("dfc-ss", network, feedback, toy)
    backward(rule, x, y, toy)
    update = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    found = measure(rule, x, y, 0.0, spectra=True)
    for before, parameter in zip(update, network.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.equal(before, parameter.grad)
    v = tuple(vi.detach() for vi in network.potentials(x))
    r = [x, *(torch.tanh(vi) for vi in v[:-1])]
    norms = torch.stack([ri.norm(dim=1) for ri in r])
    expected = float((norms.std(dim=0, correction=0) / norms.mean(dim=0)).mean())
    assert found["condition1"] == pytest.approx(expected)
    q = torch.cat(list(feedback.matrices)).detach().numpy()
    ratios: list[float] = []
    growth: dict[str, list[float]] = {"a_pi_max": [], "a_i_max": []}
    for k in range(4):
        parts = network.jacobians(tuple(vi[k : k + 1] for vi in v))
        j = torch.cat(parts, dim=-1)[0].detach().numpy()
        projected = j.T @ np.linalg.solve(j @ j.T, j @ q)
        ratios.append(float(np.linalg.norm(projected) / np.linalg.norm(q)))
        for name, k_p in (("a_pi_max", 1.5), ("a_i_max", 0.0)):
            loop = Loop.of(network, feedback, PI(k_p, 0.01), toy.tau_v)
            # The target is so near that the steady state is the free one.
            system = stability_matrix(loop, tuple(vi[k : k + 1] for vi in v))[0]
            growth[name].append(float(scipy.linalg.eigvals(system.numpy()).real.max()))
    assert found["condition2"] == pytest.approx(np.mean(ratios))
    for name, values in growth.items():
        assert found[name] == pytest.approx(max(values), rel=1e-2)
    assert found["at_rest"] == 1


def test_without_a_controller_there_are_no_eigenvalues_to_measure() -> None:
    curves = ToyRun("dfa", "random", TOY).run(ignore)
    assert {"condition1", "condition2", "mn_angle", "gn_angle"} <= set(curves)
    assert not {"a_pi_mean", "ssa_angle", "condition3_mean"} & set(curves)


@pytest.mark.parametrize("per_sample", [False, True])
def test_both_readings_of_lambda_give_the_same_small_steps(per_sample: bool) -> None:
    toy = replace(TOY, target_stepsize=1e-5, per_sample=per_sample, rate=1.0)
    learner = _Learner(ToyRun("dfc-ssa", "fixed", toy))
    x, y = normal(1, 8, 15), normal(2, 8, 5)
    backward(learner.rule, x, y, toy)
    found = [learner.rate * p.grad for p in learner.network.weights if p.grad is not None]
    # The step of the published code: 2 rate / (batch n_L) times the update of a unit lambda.
    unit = SteadyStateDFC(
        learner.network, learner.feedback, PI(toy.k_p, toy.alpha), target_stepsize=1e-5
    )
    unit.backward(x, y)
    expected = [2 * p.grad / 1e-5 / 40 for p in learner.network.weights if p.grad is not None]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-6)


def test_dfa_starts_with_a_step_as_large_as_that_of_dfc() -> None:
    steps = []
    for method, kind in (("dfa", "random"), ("dfc-ssa", "fixed")):
        toy = replace(TOY, samples=(16, 4, 4), epochs=1)
        learner = _Learner(ToyRun(method, kind, toy))  # type: ignore[arg-type]
        before = torch.cat([p.detach().flatten() for p in learner.network.parameters()])
        learner.training.run()
        after = torch.cat([p.detach().flatten() for p in learner.network.parameters()])
        steps.append(float((after - before).norm()))
    assert steps[0] == pytest.approx(steps[1], rel=1e-9)


def test_pretraining_does_not_depend_on_forward_learning_but_on_its_own_settings() -> None:
    first = pretrained(TOY)
    for other in (replace(TOY, target_stepsize=0.3, per_sample=True, alpha=0.1, epochs=9),):
        assert all(torch.equal(a, b) for a, b in zip(first, pretrained(other), strict=True))
    for other in (replace(TOY, seed=1), replace(TOY, pretraining=1)):
        assert not torch.equal(first[0], pretrained(other)[0])


def test_fixed_feedback_stays_and_trained_feedback_moves() -> None:
    for kind, moves in (("fixed", False), ("trained", True)):
        learner = _Learner(ToyRun("dfc-ssa", kind, replace(TOY, epochs=1)))  # type: ignore[arg-type]
        learner.pretrain()
        before = [q.detach().clone() for q in learner.feedback.matrices]
        learner.training.run()
        same = all(
            torch.equal(a, b) for a, b in zip(before, learner.feedback.matrices, strict=True)
        )
        assert same != moves


def test_a_run_that_diverges_keeps_its_curves_and_says_when() -> None:
    done: list[int] = []
    curves = ToyRun("dfc-ssa", "fixed", replace(TOY, rate=1e200, clip=1e200, epochs=8)).run(
        done.append
    )
    assert isinstance(curves["stopped"], str)
    assert curves["stopped"].startswith(f"epoch {len(array(curves, 'loss')) + 1}:")
    assert len(array(curves, "loss")) < 8
    assert sum(done) == 8


def test_random_configurations_satisfy_both_conditions_and_lie_around_the_known_ones() -> None:
    job = Configurations(count=50)
    curves = job.run(ignore)
    assert np.allclose(array(curves, "condition2"), 1)
    assert (array(curves, "condition3") < 0).all()
    assert array(curves, "random").shape == (50, 2)
    # With a large damping the pseudoinverse turns into J^T, with a small one into J^+.
    for end, name in ((0, "pseudoinverse"), (-1, "transposed")):
        assert np.linalg.norm(array(curves, "damped")[end] - array(curves, name)) < 0.02
    j = array(curves, "jacobian")
    sides = [m / np.linalg.norm(m) for m in (j.T, scipy.linalg.pinv(j))]
    chord = float(np.linalg.norm(sides[0] - sides[1]))
    assert float(array(curves, "extent")) == pytest.approx(np.degrees(2 * np.arcsin(chord / 2)))


def test_feedback_learning_turns_towards_the_damped_pseudoinverse() -> None:
    sleep = SleepPhase(k_p=1.0, alpha=0.1, tau_v=0.005, beta=0.01, dt=0.001, steps=100)
    job = FeedbackLearning("linear", (5.0, 0.0), sleep, samples=256, epochs=25, points=1)
    curves = job.run(ignore)
    angles, ratio = array(curves, "angle"), array(curves, "condition2")
    assert angles.shape == (25, 2)
    assert angles[-1, 0] < 0.5 * angles[0, 0]
    assert ratio[-1] > ratio[0] + 0.2


def test_window_averages_are_means_and_deviations_of_the_neighbours() -> None:
    mean, std = windowed(np.array([1.0, 2.0, 6.0, 3.0]), 3)
    assert np.allclose(mean, [1.5, 3, 11 / 3, 4.5])
    assert np.allclose(std[1], np.std([1, 2, 6]))
    mean, std = windowed(np.array([1.0, 2.0]), 1)
    assert np.allclose(mean, [1, 2])
    assert not std.any()


def test_other_processes_give_the_same_curves_and_hand_back_their_errors() -> None:
    good = [ToyRun("dfc-ssa", "fixed", replace(TOY, seed=seed)) for seed in (1, 2)]
    here = {job.settings(): curves for job, curves in run_tasks(good)}
    first, second = (array(curves, "mn_angle") for curves in here.values())
    assert not np.array_equal(first, second)
    bad = Configurations(count=20, sizes=(3, 0))
    there: dict[str, Curves] = {}

    def collect() -> None:
        with processes(2) as pool:
            for job, curves in run_tasks([*good, bad], pool):
                there[job.settings()] = curves

    with pytest.raises(UserError, match="layer sizes"):
        collect()
    assert there
    for key, curves in there.items():
        assert np.array_equal(array(curves, "mn_angle"), array(here[key], "mn_angle"))


def test_the_full_plan_has_the_published_settings() -> None:
    jobs = {job.name: job for job in Plan().runs(FIGURES)}
    toy = json.loads(jobs["toy/dfc trained"].settings())["toy"]
    assert (toy["sizes"], toy["k_p"], toy["target_stepsize"]) == ([15, 10, 10, 5], 1.5, 0.05)
    assert (toy["alpha"], toy["epochs"], toy["pretraining"]) == (0.0015, 300, 50)
    assert toy["dt"] * toy["steps"] == 5
    assert sum(name.startswith("toy/") for name in jobs) == 7
    assert sum(name.startswith("sweep") for name in jobs) == 63
    s3 = json.loads(jobs["feedback learning, gamma/tanh, k_p 0, alpha 0.5"].settings())
    assert (s3["sizes"], s3["sleep"]["tau_v"], s3["sleep"]["steps"]) == ([20, 10, 5], 0.005, 300)
    # Figures 3 and s2 share their runs.
    assert len(Plan().runs(["3", "s2"])) == 7


def toy_results(trained: float, fixed: float, growth: float) -> dict[str, Curves]:
    """Curves as of Figs. 3 and S2, of two epochs, that end in these ratios and eigenvalues."""
    out: dict[str, Curves] = {}
    for method in ("dfc", "dfc-ss", "dfc-ssa"):
        for kind, ratio in (("trained", trained), ("fixed", fixed)):
            curves: dict[str, float | list[float]] = {
                "condition2_random": 0.4,
                "condition2": [0.5 if kind == "trained" else 0.48, ratio],
                "condition1": [0.2, 0.2],
                "mn_angle": [40.0, 100 * (1 - ratio)],
                "gn_angle": [40.0, 100 * (1 - ratio)],
                "ssa_angle": [1.0, 1.0],
                "loss": [2.0, 1.0],
            }
            for name in ("a_pi", "a_i", "condition3"):
                curves |= {f"{name}_{of}": [-0.6, growth] for of in ("mean", "max")}
            out[f"toy/{method} {kind}"] = {n: Quantity(v, "1") for n, v in curves.items()}
    angles = {name: Quantity([70.0, 70.0], "degree") for name in ("mn_angle", "gn_angle")}
    ratios = {name: Quantity([0.4, 0.4], "1") for name in ("condition1", "condition2")}
    return out | {"toy/dfa random": {**angles, **ratios}}


def verdicts(figure: str, results: dict[str, Curves]) -> dict[str, bool]:
    found = find(figure, results)
    return {f.statement[:50]: f.agrees for f in found if f.agrees is not None}


def test_findings_agree_with_the_paper_exactly_where_the_numbers_do() -> None:
    assert all(verdicts("3", toy_results(0.9, 0.45, growth=-0.5)).values())
    worse = verdicts("3", toy_results(0.45, 0.9, growth=-0.5))
    assert not any(v for s, v in worse.items() if "trained above" in s or "below fixed" in s)
    unstable = verdicts("3", toy_results(0.9, 0.45, growth=0.5))
    assert [s for s, v in unstable.items() if not v] == [
        s for s in unstable if s.startswith("E: A_PI")
    ]
    s2 = verdicts("s2", toy_results(0.9, 0.45, growth=0.5))
    assert not s2["a: -(JQ + alpha I) stable throughout: largest Re < 0"[:50]]
    assert next(v for s, v in s2.items() if s.startswith("c: without k_p unstable"))


def test_a_short_run_gives_no_verdict_where_it_is_too_short_for_one() -> None:
    short, results = Plan.quick(), toy_results(0.45, 0.9, growth=-0.5)
    found = find("3", results, short)
    judged = [f.statement for f in found if f.agrees is not None]
    assert judged == ["A: ratio of Condition 2, trained: pre-training raises it"]
    for finding in found:
        if finding.agrees is None and finding.needs:
            wanted = f"too short to tell: 6144 of at least {LONG} samples learned"
            assert finding.unjudged == wanted
    # The full plan judges all that the paper claims.
    assert [f.statement for f in find("3", results) if f.agrees is None] == [
        "A: ratio of Condition 2, trained: from start to end"
    ]
    none = replace(short, toy=replace(short.toy, pretraining=0))
    (first, *_) = find("3", results, none)
    assert first.unjudged == "too short to tell: 0 of at least 50000 samples of pre-training"


def test_a_counterexample_refutes_what_is_claimed_of_all_epochs_however_short_the_run() -> None:
    for growth, verdict in ((0.5, False), (-0.5, None)):
        found = find("3", toy_results(0.9, 0.45, growth=growth), Plan.quick())
        (stable,) = [f for f in found if f.statement.startswith("E: A_PI")]
        assert stable.agrees is verdict


def test_the_full_plan_is_long_enough_for_every_claim_and_the_quick_one_for_some() -> None:
    for need in (PRETRAINING, TRAINING, SWEEP, FEEDBACK):
        assert need.of(Plan()) >= need.least
        assert (need.of(Plan.quick()) >= need.least) == (need is PRETRAINING)


def test_a_run_that_stopped_is_a_finding() -> None:
    results = toy_results(0.9, 0.45, growth=-0.5)
    results["toy/dfc fixed"] = {**results["toy/dfc fixed"], "stopped": "epoch 3: diverged"}
    stopped = find("3", results)[0]
    assert not stopped.agrees
    assert stopped.numbers == {"toy/dfc fixed (epochs done)": 2}


@pytest.mark.parametrize("figure", ["3", "s2"])
def test_figures_hold_every_method_and_name_their_axes(figure: str) -> None:
    drawn = draw(figure, toy_results(0.9, 0.45, growth=-0.5))
    assert len(drawn.axes) == (6 if figure == "3" else 3)
    for axes in drawn.axes:
        assert "(" in axes.get_ylabel()
        assert axes.get_xlabel() == "epoch"
        assert axes.get_lines()
    assert len(drawn.axes[0].get_lines()) >= (7 if figure == "3" else 6)
