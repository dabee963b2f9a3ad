"""Loops whose only rest is unstable: that they oscillate is seen without following them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from strategies import autograd_jacobian, network_of, normal
from torch import Tensor

from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics import Loop, RungeKutta4, free_state, reached
from analogdfc.dynamics.loop import LoopState, derivative, free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.stability import abscissa
from analogdfc.dynamics.steady import newton, path_gains
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import SteadyStateDFC
from analogdfc.losses import SquaredError
from analogdfc.network import Network

SIZES = [5, 8, 8, 8, 3]


def strong_case(samples: int = 12) -> tuple[Network, Loop, Tensor, Tensor]:
    """A network with weights so large that the lags of its layers make some samples oscillate."""
    network = network_of(SIZES, seed=11)
    for w in network.weights[1:]:
        w.data *= 1.5
    x = normal(5, samples, SIZES[0])
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    return network, loop, x, 0.02 * normal(6, samples, SIZES[-1])


def growth(loop: Loop, x: Tensor, target: Tensor, v: tuple[Tensor, ...], u: Tensor) -> float:
    """Largest real part of the eigenvalues of the dense Jacobian, by autograd, of one sample."""
    sizes = [*SIZES[1:], SIZES[-1]]

    def slope(flat: Tensor) -> Tensor:
        *potentials, u_int = torch.split(flat.unsqueeze(0), sizes, dim=1)
        d = derivative(loop, LoopState(tuple(potentials), u_int, u_int), x, target)
        return torch.cat([*d.v, d.u_int], dim=1)[0]

    output = torch.tanh(v[-1]) if loop.activations[-1].name == "tanh" else v[-1]
    u_int = u - loop.controller.k_p * (target - output)
    at_rest = torch.cat([*v, u_int], dim=1)[0]
    assert float(slope(at_rest).detach().abs().max()) < 1e-8
    return float(torch.linalg.eigvals(autograd_jacobian(slope, at_rest)).real.max())


def test_what_oscillates_about_its_only_rest_is_told_from_the_rest_without_its_dynamics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, loop, x, step = strong_case()
    free = free_pass(loop, x)
    target = free.output + step
    root = newton(loop, free, target)
    assert bool((root.converged & root.monotone).all())
    largest = [
        growth(
            loop, x[k : k + 1], target[k : k + 1],
            tuple(v[k : k + 1] for v in root.layers.v), root.u[k : k + 1],
        )
        for k in range(len(x))
    ]  # fmt: skip
    torch.testing.assert_close(
        abscissa(loop, root.layers.r[1:], root.u), torch.tensor(largest, dtype=x.dtype),
        rtol=1e-6, atol=1e-7,
    )  # fmt: skip
    monkeypatch.setattr(reached, "_later", None)
    found = steady_state(loop, free, target)
    assert 0 < sum(found.converged.tolist()) < len(x)
    assert found.converged.tolist() == [value < 0 for value in largest]
    assert torch.equal(found.simulated, ~found.converged)
    assert bool(found.root.all())
    torch.testing.assert_close(found.u, root.u, rtol=0, atol=0)


def test_a_loop_without_a_stable_rest_goes_on_for_ever() -> None:
    _, loop, x, step = strong_case()
    free = free_pass(loop, x)
    target = free.output + step
    rests = steady_state(loop, free, target).converged
    state, method, moved = free_state(loop, x), RungeKutta4(substeps=1), torch.zeros(len(x))
    for k in range(4000):
        state = method.step(loop, state, x, target, 0.02)
        if k >= 3500:
            away = derivative(loop, state, x, target).u_int.abs().amax(dim=1)
            moved = torch.maximum(moved, away)
    # The targets are about 0.02 away.
    assert float(moved[rests].max()) < 1e-6
    assert float(moved[~rests].min()) > 0.02


def test_the_rule_takes_what_oscillates_where_its_steps_end_in_one_simulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, loop, x, step = strong_case()
    free = free_pass(loop, x)
    restless = ~steady_state(loop, free, free.output + step).converged
    x, step, loss = x[restless], step[restless], SquaredError()
    rules = [
        SteadyStateDFC(network, loss=loss, target_stepsize=0.5, steps=60, newton=newton)
        for newton in (True, False)
    ]
    y = free.output[restless] + step
    runs = []
    whole = SteadyStateDFC._simulated

    def counted(rule: SteadyStateDFC, loop: Loop, x: Tensor, target: Tensor) -> object:
        runs.append(len(x))
        return whole(rule, loop, x, target)

    monkeypatch.setattr(SteadyStateDFC, "_simulated", counted)
    monkeypatch.setattr(reached, "_later", None)
    gradients = []
    for rule in rules:
        rule.backward(x, y)
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert runs == [len(x), len(x)]
    assert rules[0].simulated == len(x)
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "controller",
    [
        PI(),
        replace(PI(), alpha=0.1, leak="integral"),
        PI(30.0, alpha=2.0),
        P(2.0),
        PD(2.0, k_d=0.3),
        PID(k_p=1.0, k_d=0.1),
        I(alpha=0.01),
    ],
    ids=repr,
)
def test_no_mode_is_faster_than_the_bound_that_sets_the_step(controller: Controller) -> None:
    for factor in (0.1, 1.0, 3.0):
        network = network_of(SIZES, seed=11)
        for w in network.weights[1:]:
            w.data *= factor
        loop = Loop.of(network, DirectFeedback.transposed(network), controller)
        free = free_pass(loop, normal(5, 4, SIZES[0]))
        gains = path_gains(loop, free.r[1:], torch.zeros(4, 3, dtype=torch.float64))
        bound = reached._fastest_mode(loop, gains)
        for k in range(4):
            v = tuple(vi[k : k + 1] for vi in free.v)
            assert float(modes_of_free_state(loop, free.r[0][k : k + 1], v).abs().max()) < bound


def modes_of_free_state(loop: Loop, x: Tensor, v: tuple[Tensor, ...]) -> Tensor:
    """Eigenvalues of the dense Jacobian, by autograd, of one sample."""
    c, target = loop.controller, v[-1].detach()
    sizes = [*SIZES[1:], *[SIZES[-1]] * (c.integrates + c.differentiates)]

    def slope(flat: Tensor) -> Tensor:
        parts = list(torch.split(flat.unsqueeze(0), sizes, dim=1))
        slow = parts.pop() if c.differentiates else None
        u_int = parts.pop() if c.integrates else torch.zeros_like(target)
        d = derivative(loop, LoopState(tuple(parts), u_int, u_int, slow), x, target)
        out = [*d.v, *([d.u_int] if c.integrates else [])]
        return torch.cat([*out, *([] if d.r_slow is None else [d.r_slow])], dim=1)[0]

    state = [*v, *([torch.zeros_like(target)] if c.integrates else [])]
    state += [target] if c.differentiates else []
    found: Tensor = torch.linalg.eigvals(autograd_jacobian(slope, torch.cat(state, dim=1)[0]))
    return found


def test_a_loop_whose_first_layer_is_driven_by_its_biases_moves_as_before() -> None:
    _, loop, x, step = strong_case()
    free = free_pass(loop, x)
    where = torch.tensor([1, 4, 7])
    driven, nothing = reached._driven(loop, free, where)
    assert nothing.shape == (3, 0)
    method, target = RungeKutta4(substeps=1), (free.output + step)[where]
    state = other = free_state(loop, x[where])
    for _ in range(20):
        state = method.step(loop, state, x[where], target, 0.05)
        other = method.step(driven, other, nothing, target, 0.05)
    for one, two in zip((*state.v, state.u), (*other.v, other.u), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-13)


def test_a_batch_is_probed_at_more_than_the_sample_of_the_largest_gain() -> None:
    # The sample with the largest gain is stable, one with a little less is not.
    source = torch.Generator().manual_seed(8)
    network = Network([5, 8, 8, 3], generator=source)
    for w in network.weights:
        w.data = 1.2 * torch.randn(w.shape, dtype=w.dtype, generator=source) / w.shape[1] ** 0.5
    for w in network.weights[1:]:
        w.data *= 2
    x = torch.randn(32, 5, dtype=torch.float64, generator=source)
    step = 0.1 * torch.randn(32, 3, dtype=torch.float64, generator=source)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    free = free_pass(loop, x)
    root = newton(loop, free, free.output + step)
    at_rest = abscissa(loop, root.layers.r[1:], root.u)
    fastest = int(torch.where(root.monotone, root.gain, -1.0).argmax())
    assert float(at_rest[fastest]) < 0
    unstable = root.monotone & (at_rest > 0)
    assert bool(unstable.any())
    found = steady_state(loop, free, free.output + step)
    assert not bool(found.converged[unstable].any())


def test_samples_whose_free_state_is_their_rest_are_at_rest() -> None:
    _, loop, x, step = strong_case()
    free = free_pass(loop, x)
    found = steady_state(loop, free, free.output)
    assert bool(found.converged.all())
    assert not bool(found.u.any())
    assert len(steady_state(loop, free_pass(loop, x[:1]), (free.output + step)[:1]).u) == 1
