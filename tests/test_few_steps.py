"""The loop in few long steps: against SciPy, against short steps, and what it says of its error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from strategies import network_of, normal
from torch import Tensor

from analogdfc import records
from analogdfc.cli import align, cli, train
from analogdfc.controller import PI, PID, Controller, P
from analogdfc.dynamics import Loop, Radau, RungeKutta4, free_state, mean_update, simulate
from analogdfc.dynamics.loop import LoopState, derivative, signals
from analogdfc.dynamics.radau import FewSteps, mean_update_in_spans
from analogdfc.dynamics.simulation import final_state
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback, NetworkFeedback
from analogdfc.learning import DFC, SinglePhaseDFC, SteadyStateDFC
from analogdfc.network import Network

Array = NDArray[np.float64]

CONTROLLERS = [
    pytest.param(PI(), id="PI"),
    pytest.param(PI(k_p=0.5, alpha=0.2, leak="integral"), id="leak on the integral part"),
    pytest.param(P(2.0), id="P"),
    pytest.param(PID(k_p=1.0, k_d=0.2, alpha=0.01), id="PID"),
    pytest.param(PID(k_p=1.0, k_d=0.2, alpha=0.1, leak="integral"), id="PID, leak on its part"),
]


class Case(NamedTuple):
    loop: Loop
    x: Tensor
    target: Tensor


def case_of(
    controller: Controller | None = None,
    *,
    activation: str = "tanh",
    pathway: bool = False,
    size: float = 0.15,
    batch: int = 3,
) -> Case:
    network = network_of([5, 6, 7, 3], seed=4, activation=activation)
    if pathway:
        source = torch.Generator().manual_seed(5)
        feedback = NetworkFeedback.like(DirectFeedback.transposed(network), 8, source)
        loop = Loop.of(network, feedback, controller or PI())
    else:
        loop = Loop.of(network, DirectFeedback.transposed(network), controller or PI())
    x = normal(2, batch, 5)
    return Case(loop, x, network(x).detach() + size * normal(3, batch, 3))


def flat(update: FewSteps | tuple[tuple[Tensor, ...], tuple[Tensor, ...]]) -> Tensor:
    return torch.cat([t.flatten() for part in update[:2] for t in part])


def exact(case: Case, duration: float, nonlinear: bool = True) -> Tensor:
    """The average of the continuous equations, by SciPy, for all samples together."""
    loop, x, target = case
    start = free_state(loop, x)
    like = [*start.v, start.u_int] + ([] if start.r_slow is None else [start.r_slow])
    sizes = [t.numel() for t in like]
    count = len(start.v)

    def slope(_: float, z: Array) -> Array:
        parts = np.split(z[: sum(sizes)], np.cumsum(sizes)[:-1])
        tensors = [torch.from_numpy(p).view_as(t) for p, t in zip(parts, like, strict=True)]
        slow = tensors[count + 1] if start.r_slow is not None else None
        state = LoopState(tuple(tensors[:count]), tensors[count], start.u, slow)
        d = derivative(loop, state, x, target)
        now = signals(loop, state.v, x)
        if nonlinear:
            pairs = zip(loop.activations, now.v, now.v_ff, strict=True)
            differences = [phi.function(v) - phi.function(v_ff) for phi, v, v_ff in pairs]
        else:
            differences = [v - v_ff for v, v_ff in zip(now.v, now.v_ff, strict=True)]
        weights = [e.T @ r / len(x) for e, r in zip(differences, now.inputs, strict=True)]
        biases = [e.mean(dim=0) for e in differences]
        moved = [*d.v, d.u_int] + ([] if d.r_slow is None else [d.r_slow])
        return np.concatenate([t.numpy().ravel() for t in [*moved, *weights, *biases]])

    state = np.concatenate([t.numpy().ravel() for t in like])
    updates = sum(w.numel() + len(w) for w in loop.weights)
    z_0 = np.concatenate([state, np.zeros(updates)])
    run = solve_ivp(slope, (0.0, duration), z_0, "DOP853", rtol=1e-9, atol=1e-11)
    return torch.from_numpy(run.y[len(state) :, -1]) / duration


def off(found: Tensor, reference: Tensor) -> float:
    """Error relative to the norm."""
    return float((found - reference).norm() / reference.norm())


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_mean_update_is_scipys_to_the_tolerance(controller: Controller) -> None:
    case = case_of(controller)
    reference = exact(case, 8.0)
    for tolerance in (2e-3, 1e-5):
        found = mean_update_in_spans(*case, duration=8.0, tolerance=tolerance)
        assert off(flat(found), reference) < tolerance
        assert found.error < tolerance


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_so_it_is_for_other_activations_and_the_linear_rule(activation: str) -> None:
    case = case_of(activation=activation)
    reference = exact(case, 5.0, nonlinear=False)
    found = mean_update_in_spans(*case, duration=5.0, tolerance=1e-3, nonlinear=False)
    assert off(flat(found), reference) < 1e-3


def test_so_it_is_behind_a_feedback_network() -> None:
    case = case_of(pathway=True)
    reference = exact(case, 5.0)
    found = mean_update_in_spans(*case, duration=5.0, tolerance=1e-4)
    assert off(flat(found), reference) < 1e-4


def test_the_error_is_at_most_the_estimate() -> None:
    case = case_of(size=1.0)  # far into the nonlinearity
    reference = exact(case, 20.0)
    for tolerance in (3e-2, 1e-2, 1e-3, 1e-4):
        found = mean_update_in_spans(*case, duration=20.0, tolerance=tolerance)
        assert 0 < off(flat(found), reference) < found.error < tolerance


def test_the_papers_thousand_steps_take_eight_spans() -> None:
    case = case_of()
    found = mean_update_in_spans(*case, duration=20.0, tolerance=Radau().tolerance)
    assert found.spans <= 9
    assert found.passes <= 25  # of three nodes each
    euler = flat(mean_update(*case, dt=0.02, steps=1000))
    reference = exact(case, 20.0)
    assert off(flat(found), reference) < off(euler, reference)


def test_waveforms_and_the_last_state_are_those_of_short_steps() -> None:
    case = case_of(PID(k_p=1.0, k_d=0.2, alpha=0.01))
    ours = simulate(*case, dt=0.5, steps=8, integrator=Radau(1e-6))
    fine = simulate(*case, dt=0.5, steps=8, integrator=RungeKutta4(30))
    scale = float(fine.u.abs().max())
    assert float((ours.u - fine.u)[:, 1:].abs().max()) < 1e-5 * scale
    last = final_state(*case, dt=0.5, steps=8, integrator=Radau(1e-6))
    for v, all_v in zip(last.v, fine.neurons.v, strict=True):
        torch.testing.assert_close(v, all_v[:, -1], rtol=0, atol=1e-5)


def test_without_an_error_nothing_changes() -> None:
    loop, x, _ = case_of()
    free = free_state(loop, x)
    found = mean_update_in_spans(loop, x, free.v[-1], duration=20.0, tolerance=1e-3)
    assert float(flat(found).abs().max()) < 1e-14


def test_single_precision_has_the_same_error() -> None:
    case = case_of()
    loop = Loop.of(
        network_of([5, 6, 7, 3], seed=4, activation="tanh").float(),
        DirectFeedback([q.float() for q in case.loop.feedback]),
        PI(),
    )
    found = mean_update_in_spans(
        loop, case.x.float(), case.target.float(), duration=20.0, tolerance=1e-3
    )
    assert found.weights[0].dtype == torch.float32
    assert off(flat(found).double(), exact(case, 20.0)) < 1e-3


def test_another_device_finds_the_same_update(device: str) -> None:
    case = case_of(PID(k_p=1.0, k_d=0.2, alpha=0.01))
    network = network_of([5, 6, 7, 3], seed=4, activation="tanh")
    feedback = DirectFeedback.transposed(network)
    there = Loop.of(network.to(device), feedback.to(device), case.loop.controller)
    found = mean_update_in_spans(
        there, case.x.to(device), case.target.to(device), duration=5.0, tolerance=1e-6
    )
    here = mean_update_in_spans(*case, duration=5.0, tolerance=1e-6)
    assert off(flat(found).cpu(), flat(here)) < 2e-6


def test_a_loop_that_runs_away_is_an_error() -> None:
    case = case_of(activation="linear", batch=1)
    wrong = case.loop._replace(feedback=tuple(-9 * q for q in case.loop.feedback))
    with pytest.raises(ConvergenceError, match="diverged"):
        mean_update_in_spans(wrong, *case[1:], duration=2000.0, tolerance=1e-2)


def strong(scale: float) -> Network:
    """A network with weights so many times as large as usual."""
    network = network_of([2, 3, 3, 3, 2], seed=1, activation="tanh")
    for w in list(network.weights)[1:]:
        w.data.mul_(scale)
    return network


@pytest.mark.parametrize(("scale", "grows"), [(1.0, False), (2.0, True)])
def test_a_loop_that_is_unstable_where_long_steps_take_it_is_told(
    scale: float, grows: bool
) -> None:
    network = strong(scale)
    x, y = normal(2, 4, 2), normal(3, 4, 2)

    def taught(tolerance: float) -> tuple[Tensor, DFC]:
        rule = DFC(
            network, controller=P(0.2), target_stepsize=0.01, tau_v=0.05, dt=1e-3, steps=4000,
            integrator=Radau(tolerance),
        )  # fmt: skip
        rule.backward(x, y)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        return torch.cat([g.flatten() for g in gradients]), rule

    (exact, _), (found, rule) = taught(1e-6), taught(2e-3)
    off = float((found - exact).norm() / exact.norm())
    assert (off > 3 * rule.figures()["integration_error"]) == grows
    assert (rule.figures()["unstable"] > 0) == grows
    assert any("unstable where long steps" in note for note in rule.notes()) == grows


@pytest.mark.parametrize(("scale", "grows"), [(1.0, False), (3.0, True)])
def test_a_rest_that_long_steps_hold_although_it_is_unstable_is_told(
    scale: float, grows: bool
) -> None:
    network = strong(scale)
    rule = SteadyStateDFC(
        network, controller=P(2.0), tau_v=0.05, dt=1e-3, steps=4000, integrator=Radau(2e-3),
        newton=False, target_stepsize=0.01,
    )  # fmt: skip
    rule.backward(normal(2, 4, 2), normal(3, 4, 2))
    assert any("unstable where long steps" in note for note in rule.notes()) == grows


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, float("nan")])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(UserError, match="tolerance"):
        Radau(tolerance)


# In the rules


def rule_inputs() -> tuple[Network, Tensor, Tensor]:
    return network_of([5, 6, 7, 3], seed=4), normal(2, 6, 5), normal(3, 6, 3)


def test_dfc_tells_the_error_of_its_updates() -> None:
    network, x, y = rule_inputs()
    rule = DFC(network, integrator=Radau(1e-4))
    rule.backward(x, y)
    found = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert 0 < rule.figures()["integration_error"] < 1e-4
    assert not rule.notes()
    short = DFC(network)
    short.backward(x, y)
    fine = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert off(found, fine) < 3e-3  # that of the Euler steps
    assert "integration_error" not in short.figures()


def test_dfc_tells_of_an_error_above_its_tolerance() -> None:
    network, x, y = rule_inputs()
    for w in network.weights:
        w.data *= 5  # the loop oscillates
    rule = DFC(network, integrator=Radau(1e-2), target_stepsize=0.5, steps=200)
    rule.error = 0.02
    rule.backward(x, y)
    assert rule.error >= 0.02
    assert any("oscillate" in note for note in rule.notes())


def test_simulated_steady_states_are_the_same() -> None:
    network, x, y = rule_inputs()
    grads = []
    for integrator in (Radau(1e-6), None):
        SteadyStateDFC(network, newton=False, integrator=integrator).backward(x, y)
        grads.append(network.weights[0].grad.clone())
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-9)


def test_the_noisy_run_refuses_it() -> None:
    with pytest.raises(UserError, match="noise takes Euler steps"):
        SinglePhaseDFC(rule_inputs()[0], integrator=Radau())


# On the command line

SMALL = ["--dataset", "digits-4x4", "--sizes", "16-6-10", "--samples", "20"]


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures, for what isn't about them: drawing takes longer than the work."""
    monkeypatch.setattr(align, "alignment_figure", lambda *_: Figure((1, 1)))
    monkeypatch.setattr(train, "training_figure", lambda *_: Figure((1, 1)))


@pytest.mark.usefixtures("undrawn")
def test_train_takes_it_and_records_the_error(tmp_path: Path) -> None:
    out = tmp_path / "train.h5"
    options = ("--integrator", "radau", "--update-error", 0.01)
    code, text = call("train", "--rule", "dfc", *SMALL, "--epochs", 1, "-o", out, *options)
    assert code == 0, text
    record = records.read(out)
    assert 0 < record.number("figures/integration_error") < 0.01
    integrator = json.loads(record.text("settings"))["dynamics"]["integrator"]
    assert integrator == {"kind": "Radau", "tolerance": 0.01}


@pytest.mark.usefixtures("undrawn")
def test_align_has_nearly_the_angles_of_euler_steps(tmp_path: Path) -> None:
    angles = []
    for name in ("euler", "radau"):
        out = tmp_path / f"{name}.h5"
        code, text = call(
            "align", "--rule", "dfc", *SMALL, "--integrator", name, "-o", out, "--json"
        )
        assert code == 0, text
        found = json.loads(text[text.index("{") :])
        angles.append(found["rules"]["dfc"]["references"]["BP"]["angle_degree"]["all"])
    assert angles[0] == pytest.approx(angles[1], abs=0.2)
    assert angles[0] != angles[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["train", "--rule", "bp", "--integrator", "radau"], "doesn't go through its loop"),
        (["train", "--rule", "dfc", "--update-error", "0.1"], "for --integrator radau"),
        (["align", "--rule", "bp", "--integrator", "radau"], "goes through its loop"),
    ],
)
def test_where_it_would_do_nothing_it_is_refused(
    tmp_path: Path, arguments: list[str], why: str
) -> None:
    code, text = call(*arguments, "-o", tmp_path / "out.h5")
    assert code == 2
    assert why in text
