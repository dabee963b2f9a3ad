"""Rests are those that the dynamics reach."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from analogdfc.analysis.settling import predict
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.cli import cli
from analogdfc.cli._compare import _slowest_mode
from analogdfc.comparison import Cause
from analogdfc.controller import PI, PID, Controller, P
from analogdfc.dynamics import Loop, RungeKutta4, free_state, reached, stability
from analogdfc.dynamics.linalg import corrected, positive
from analogdfc.dynamics.loop import LoopState, derivative, free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.stability import _decaying, abscissa, stable
from analogdfc.dynamics.steady import newton
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import SteadyStateDFC
from analogdfc.network import Network
from analogdfc.study import Study
from benchmarks._measure import case

# The package hands out the function of the same name.
cost = importlib.import_module("analogdfc.cost.estimate")


def random_case(seed: int, samples: int = 32) -> tuple[Network, DirectFeedback, Tensor, Tensor]:
    """A network with random feedback, inputs and target steps."""
    source = torch.Generator().manual_seed(seed)
    sizes = [5, 8, 8, 3]
    network = Network(sizes, generator=source)
    for w in network.weights:
        w.data = 1.2 * torch.randn(w.shape, dtype=w.dtype, generator=source) / w.shape[1] ** 0.5
    x = torch.randn(samples, 5, dtype=torch.float64, generator=source)
    step = 0.1 * torch.randn(samples, 3, dtype=torch.float64, generator=source)
    drawn = [torch.randn(n, 3, dtype=x.dtype, generator=source) for n in sizes[1:-1]]
    return network, DirectFeedback([*drawn, torch.eye(3, dtype=x.dtype)]), x, step


def after(loop: Loop, x: Tensor, target: Tensor, duration: float) -> LoopState:
    state, method = free_state(loop, x), RungeKutta4(substeps=1)
    for _ in range(round(duration / 0.08)):
        state = method.step(loop, state, x, target, 0.08)
    return state


@torch.no_grad()
def test_the_rest_with_random_feedback_is_that_of_a_long_simulation() -> None:
    network, feedback, x, step = random_case(3)
    loop = Loop.of(network, feedback, PI())
    free = free_pass(loop, x)
    target = free.output + step
    end = after(loop, x, target, 150)
    found = steady_state(loop, free, target)
    assert bool(found.converged.all())
    scale = end.u.abs().amax(dim=1)
    assert float(((found.u - end.u).abs().amax(dim=1) / scale).max()) < 0.02
    assert float(abscissa(loop, found.layers.r[1:], found.u).max()) < 0
    # Newton's method alone comes to roots at which the loop doesn't stay.
    root = newton(loop, free, target)
    elsewhere = root.converged & ((root.u - end.u).abs().amax(dim=1) > 0.1 * scale)
    assert bool(elsewhere.any())
    assert bool(found.simulated[elsewhere].all())


def test_the_rule_counts_the_samples_whose_dynamics_were_followed() -> None:
    network, feedback, x, _step = random_case(3)
    rule = SteadyStateDFC(network, feedback, target_stepsize=0.05)
    rule.backward(x, torch.zeros(32, 3, dtype=x.dtype))
    assert rule.simulated > 0
    easy = SteadyStateDFC(network, DirectFeedback.transposed(network), target_stepsize=0.05)
    easy.backward(x, torch.zeros(32, 3, dtype=x.dtype))
    assert easy.simulated == 0


@pytest.mark.parametrize(
    "controller",
    [PI(), replace(PI(), alpha=0.1, leak="integral"), P(2.0), PID(k_p=1.0, k_d=0.1)],
    ids=["pi", "leak on the integral part", "p", "pid"],
)
@torch.no_grad()
def test_the_abscissa_is_that_of_all_the_equations(controller: Controller) -> None:
    network, feedback, x, step = random_case(0, samples=1)
    loop = Loop.of(network, feedback, controller)
    free = free_pass(loop, x)
    root = newton(loop, free, free.output + step)
    c = loop.controller
    sizes = [len(b) for b in loop.biases]
    sizes += [3] * (c.integrates + c.differentiates)

    def slope(flat: Tensor) -> Tensor:
        parts = list(torch.split(flat.unsqueeze(0), sizes, dim=1))
        slow = parts.pop() if c.differentiates else None
        u_int = parts.pop() if c.integrates else torch.zeros(1, 3, dtype=x.dtype)
        state = LoopState(tuple(parts), u_int, u_int, slow)
        d = derivative(loop, state, x, free.output + step)
        out = [*d.v]
        out += [d.u_int] if c.integrates else []
        out += [] if d.r_slow is None else [d.r_slow]
        return torch.cat(out, dim=1)[0]

    rest = [*root.layers.v]
    e = free.output + step - root.layers.output
    rest += [root.u - c.k_p * e] if c.integrates else []
    rest += [root.layers.output] if c.differentiates else []
    at = torch.cat(rest, dim=1)[0]
    moves = 1e-5 * torch.eye(len(at), dtype=at.dtype)
    columns = [(slope(at + move) - slope(at - move)) / 2e-5 for move in moves]
    matrix = torch.stack(columns, dim=1)
    expected = torch.linalg.eigvals(matrix).real.max()
    torch.testing.assert_close(
        abscissa(loop, root.layers.r[1:], root.u)[0], expected, rtol=1e-6, atol=1e-7
    )


def test_powers_that_vanish_are_those_of_stable_matrices_alone() -> None:
    source = np.random.default_rng(3)
    matrices = source.normal(size=(60, 8, 8)) / 8**0.5
    # From well on the left to well on the right, far from normal, and just on either side.
    matrices -= np.linspace(-0.2, 2.5, 60)[:, None, None] * np.eye(8)
    skewed = np.triu(40 * source.normal(size=(10, 8, 8)), 1) - 0.3 * np.eye(8)
    largest = np.linalg.eigvals(matrices).real.max(axis=-1)
    edges = matrices - (largest + np.linspace(-1e-6, 1e-6, 60))[:, None, None] * np.eye(8)
    for some in (matrices, skewed, edges, matrices[:0]):
        expected = np.linalg.eigvals(some).real.max(axis=-1) < 0
        for step in (0.1, 1.0, 30.0):
            assert np.array_equal(_decaying(some, step), expected)


def test_a_matrix_without_a_bilinear_transform_is_unstable() -> None:
    assert not _decaying(np.diag([-1.0, 2.0])[None], 0.5)[0]
    assert not _decaying(np.array([[[-1.0, 0.0], [0.0, 1e200]]]), 0.5)[0]


@torch.no_grad()
def test_most_stable_loops_need_no_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _, x, step = random_case(0, samples=4)
    loop, u = Loop.of(network, DirectFeedback.transposed(network), PI()), torch.zeros_like(step)
    free = free_pass(loop, x)
    assert bool((abscissa(loop, free.r[1:], u) < 0).all())
    monkeypatch.setattr(stability, "_growth", None)
    assert bool(stable(loop, free.r[1:], u).all())


def test_a_prediction_says_where_control_takes_a_neuron_out_of_its_linear_range() -> None:
    here = case((3, 4, 2), 0, 1)
    bends = []
    for factor in (0.1, 1.0, 6.0):
        found = predict(here.design, 0, here.x, factor * here.step, limits=False)
        bends.append((float(found.bend), bool(found.linear)))
    assert bends[0][0] < 0.2 * bends[2][0]
    assert [linear for _, linear in bends] == [True, True, False]


@pytest.mark.parametrize("what", ["x", "step"])
def test_a_gradient_of_the_behavioural_model_is_refused_instead_of_cut(what: str) -> None:
    here = case((3, 4, 2), 0, 1)
    model = Behavioural([Chip.of(here.design, 0)], Rung.STATIC)
    given = {"x": here.x, "step": here.step}
    given[what] = given[what].clone().requires_grad_()
    with pytest.raises(UserError, match=rf"{what}: a gradient is asked for.*no_grad"):
        model.run(given["x"], given["step"], dt=0.5, steps=2)
    with torch.no_grad():
        assert not model.run(given["x"], given["step"], dt=0.5, steps=2)[0].u.requires_grad


def test_a_diagnosis_that_fails_is_a_line_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> float:
        raise ConvergenceError("Newton's method found no operating point")

    here = case((3, 4, 2), 0, 1)
    monkeypatch.setattr(Study, "slowest_mode", failing)
    slowest, lines = _slowest_mode(here, 0)
    assert slowest is None
    assert lines == ["the slowest mode is not known: Newton's method found no operating point"]


def test_causes_that_fail_are_a_line_of_the_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(*_: object) -> tuple[float, list[Cause]]:
        raise ConvergenceError("time step too small")

    monkeypatch.setattr(Study, "causes", failing)
    arguments = ["--sizes", "2-2", "--samples", "1", "--duration", "1", "--fidelity", "macro"]
    result = CliRunner().invoke(cli, ["compare", *arguments, "-o", str(tmp_path / "c.h5")])
    assert result.exit_code == 0, result.output
    assert "what turns the update is not known: time step too small" in result.stdout


@pytest.mark.parametrize("diagnosis", ["predict", "_observed", "update_angle"])
def test_an_estimate_lives_without_a_diagnosis_that_fails(
    diagnosis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(cost, diagnosis)

    def failing(*arguments: object, **options: object) -> object:
        if options.get("limits") is False:
            return whole(*arguments, **options)
        raise ConvergenceError("no rest")

    here = case((2, 3, 2), 0, 1)
    monkeypatch.setattr(cost, diagnosis, failing)
    limits = diagnosis == "predict"
    if limits:
        method = cost.CLOSED_FORM
        found = cost.estimate(here.design, 0, here.x, here.step, method=method)
        assert not found.settling.elasticities
    elif diagnosis == "_observed":
        found = cost.estimate(here.design, 0, here.x, here.step, limits=False)
        assert found.observed is None
    else:
        method = cost.CLOSED_FORM
        found = cost.estimate(here.design, 0, here.x, here.step, method=method, limits=False)
        assert math.isnan(found.update_angle)
    (line,) = found.remarks
    assert line.endswith(": no rest")
    assert found.joules > 0


def test_a_loop_that_ends_at_its_rails_has_no_rest_in_any_analysis() -> None:
    here = case((3, 4, 2), 0, 1)
    # The rest would need some tens of volts of the control signal.
    here = replace(here, step=40 * here.step)
    with pytest.raises(ConvergenceError, match=r"beyond the amplifiers' 1\.5 V"):
        here.slowest_mode(0)
    with pytest.raises(ConvergenceError, match="beyond the amplifiers'"):
        here.static(0)
    assert len(here.step_tolerances(0)) == 1


def test_a_loop_that_moves_on_and_on_is_given_up_early() -> None:
    spans = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]])
    u = torch.zeros(2, 1)
    state = LoopState((), u, u, None)
    assert reached._lost(state, spans, None).tolist() == [True, False]
    assert reached._lost(state, spans[:, :5], None).tolist() == [False, False]
    far = LoopState((), u, torch.tensor([[0.5], [-3.0]]), None)
    assert reached._lost(far, spans[:, :1], torch.tensor([2.0])).tolist() == [False, True]


def test_a_step_corrects_an_inverse_to_take_its_change_to_it_and_nothing_across_it() -> None:
    source = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=source)

    matrix = torch.eye(4, dtype=torch.float64) + 0.2 * normal(3, 4, 4)
    step, change = normal(3, 4), normal(3, 4)
    step[2] = 0
    found = torch.linalg.inv(corrected(torch.linalg.inv(matrix), step, change))
    moved = (found @ step.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(moved[:2], change[:2])
    across = torch.linalg.svd(step.unsqueeze(1)).Vh[:, 1:].mT  # what is at right angles to the step
    same = (found - matrix) @ across
    torch.testing.assert_close(same[:2], torch.zeros_like(same[:2]), atol=1e-12, rtol=0)
    torch.testing.assert_close(found[2], matrix[2])


def test_eigenvalues_above_a_margin_are_told_from_those_below() -> None:
    one = torch.diag_embed(torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64))
    assert positive(one, torch.tensor([0.9, 0.4], dtype=torch.float64))
    assert not positive(one, torch.tensor([0.9, 0.6], dtype=torch.float64))
    assert not positive(one * torch.nan, torch.tensor([0.0, 0.0], dtype=torch.float64))
