"""P, I, PI, PD and PID control against their equations written out, and against the theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from strategies import autograd_jacobian, network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Design
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics import (
    Euler,
    Loop,
    LoopState,
    RungeKutta4,
    derivative,
    free_state,
    simulate,
)
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import SteadyState, steady_state
from analogdfc.dynamics.steady import newton
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import AnalyticDFC, SteadyStateDFC
from analogdfc.measures import condition3, slowest_eigenvalue, stability_matrix
from analogdfc.network import Network

Array = NDArray[np.float64]
# The control signal and the derivative of the controller's state z, of z, e and r_L; z starts with
# u_int = 0, if there is one, and ends with r_slow, if there is one.
Equations = Callable[[Array, Array, Array], tuple[Array, Array]]


def p(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    return 1.5 * e, np.zeros(0)


def i(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    return z, (e - 0.05 * z) / 0.7


def pi_leaking_on_u(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    u = z + 2 * e
    return u, (e - 0.1 * u) / 0.8


def pi_with_a_large_leak(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    u = z + 2 * e
    return u, (e - 0.8 * u) / 0.8


def pi_leaking_on_u_int(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    return z + 2 * e, (e - 0.1 * z) / 0.8


def pd(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    return 1.2 * e - 0.15 * (r - z) / 0.08, (r - z) / 0.08


def pid_leaking_on_u(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    u_int, r_slow = np.split(z, 2)
    u = u_int + e - 0.2 * (r - r_slow) / 0.1
    return u, np.concatenate([(e - 0.04 * u) / 1.3, (r - r_slow) / 0.1])


def pid_leaking_on_u_int(z: Array, e: Array, r: Array) -> tuple[Array, Array]:
    u_int, r_slow = np.split(z, 2)
    u = u_int + e - 0.2 * (r - r_slow) / 0.1
    return u, np.concatenate([(e - 0.04 * u_int) / 1.3, (r - r_slow) / 0.1])


CASES: dict[str, tuple[Controller, Equations]] = {
    "P": (P(1.5), p),
    "I": (I(0.05, 0.7), i),
    "PI, eq. 206": (PI(2.0, 0.1, 0.8), pi_leaking_on_u),
    "PI, eq. 206, alpha k_p > 1": (PI(2.0, 0.8, 0.8), pi_with_a_large_leak),
    "PI, eq. 4": (PI(2.0, 0.1, 0.8, leak="integral"), pi_leaking_on_u_int),
    "PD": (PD(1.2, 0.15, 0.08), pd),
    "PID, eq. 206": (PID(k_p=1.0, alpha=0.04, tau_u=1.3, k_d=0.2, tau_d=0.1), pid_leaking_on_u),
    "PID, eq. 4": (
        PID(k_p=1.0, alpha=0.04, tau_u=1.3, k_d=0.2, tau_d=0.1, leak="integral"),
        pid_leaking_on_u_int,
    ),
}
CONTROLLERS = [pytest.param(controller, id=name) for name, (controller, _) in CASES.items()]
EQUATIONS = [pytest.param(*case, id=name) for name, case in CASES.items()]


class Case(NamedTuple):
    """A loop with inputs and output targets a small step from the free output."""

    loop: Loop
    x: Tensor
    target: Tensor


def case_of(network: Network, controller: Controller, *, batch: int = 1, seed: int = 0) -> Case:
    loop = Loop.of(network, DirectFeedback.transposed(network), controller)
    x = normal(seed, batch, network.sizes[0])
    step = 0.15 * normal(seed + 1, batch, network.sizes[-1])
    return Case(loop, x, network(x).detach() + step)


def settled(case: Case) -> SteadyState:
    found = steady_state(case.loop, free_pass(case.loop, case.x), case.target)
    assert bool(found.converged.all())
    return found


def numpys(tensors: tuple[Tensor, ...]) -> list[Array]:
    return [np.asarray(t.numpy()) for t in tensors]


def solved(case: Case, equations: Equations, times: Array) -> tuple[Array, Array]:
    """Output and control signal, (T, n_L), of one sample in a network of two layers, 3-4-2."""
    (w_1, w_2), (b_1, b_2) = numpys(case.loop.weights), numpys(case.loop.biases)
    q_1, q_2 = numpys(case.loop.feedback)
    x, target = case.x[0].numpy(), case.target[0].numpy()
    controller = case.loop.controller

    def parts(y: Array) -> tuple[Array, Array, Array, Array]:
        v_1, v_2, z = np.split(y, [4, 6])
        u, dz = equations(z, target - v_2, v_2)
        return v_1, v_2, u, dz

    def slope(_: float, y: Array) -> Array:
        v_1, v_2, u, dz = parts(y)
        dv_1 = (-v_1 + w_1 @ x + b_1 + q_1 @ u) / 0.2
        dv_2 = (-v_2 + w_2 @ np.tanh(v_1) + b_2 + q_2 @ u) / 0.2
        return np.concatenate([dv_1, dv_2, dz])

    v_1 = w_1 @ x + b_1
    v_2 = w_2 @ np.tanh(v_1) + b_2
    z = [np.zeros(2)] * math.isfinite(controller.tau_u) + [v_2] * (controller.k_d > 0)
    y_0 = np.concatenate([v_1, v_2, *z])
    out = solve_ivp(slope, (0, times[-1]), y_0, "DOP853", t_eval=times, rtol=1e-11, atol=1e-13)
    each = [parts(y) for y in out.y.T]
    return np.stack([v for _, v, _, _ in each]), np.stack([u for _, _, u, _ in each])


@pytest.mark.parametrize(("controller", "equations"), EQUATIONS)
def test_each_controller_solves_its_own_equations(
    network: Network, controller: Controller, equations: Equations
) -> None:
    case = case_of(network, controller)
    v, u = solved(case, equations, np.linspace(0, 3, 31))
    assert np.abs(u).max() > 0.05
    run = simulate(*case, dt=0.1, steps=30, integrator=RungeKutta4(16))
    np.testing.assert_allclose(run.neurons.v[-1][0], v, rtol=0, atol=1e-6)
    np.testing.assert_allclose(run.u[0], u, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("controller", "equations"), EQUATIONS)
def test_the_papers_euler_step_converges_to_them_with_first_order(
    network: Network, controller: Controller, equations: Equations
) -> None:
    case = case_of(network, controller)
    _, u = solved(case, equations, np.linspace(0, 1, 11))
    errors = []
    for steps in (20, 40):
        run = simulate(*case, dt=0.1 / steps, steps=10 * steps, integrator=Euler())
        errors.append(np.abs(run.u[0, ::steps].numpy() - u)[1:].max())
    assert errors[0] < 0.04
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.15)


# At rest


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_steady_state_of_newton_is_that_of_a_long_simulation(controller: Controller) -> None:
    case = case_of(network_of([4, 6, 5, 3], seed=3), controller, batch=4)
    found = settled(case)
    run = simulate(*case, dt=0.2, steps=300, integrator=RungeKutta4(6))
    torch.testing.assert_close(found.u, run.u[:, -1], rtol=0, atol=1e-8)
    for v, waves in zip(found.layers.v, run.neurons.v, strict=True):
        torch.testing.assert_close(v, waves[:, -1], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("controller", "damping"),
    [
        (P(4.0), 0.25),
        (I(0.05), 0.05),
        (PI(2.0, 0.1), 0.1),
        (PI(2.0, 0.1, leak="integral"), 0.1 / 1.2),
        (PD(4.0), 0.25),
        (PID(k_p=2.0, alpha=0.1), 0.1),
        (PID(k_p=2.0, alpha=0.1, leak="integral"), 0.1 / 1.2),
    ],
)
def test_the_error_at_rest_is_the_damping_times_the_control_signal(
    network: Network, controller: Controller, damping: float
) -> None:
    assert controller.damping == pytest.approx(damping)
    run = simulate(*case_of(network, controller), dt=0.1, steps=450, integrator=RungeKutta4(4))
    torch.testing.assert_close(run.e[0, -1], damping * run.u[0, -1], rtol=1e-7, atol=1e-10)


def test_proportional_control_of_a_linear_network_comes_to_rest_where_equation_131_says() -> None:
    network, k_p = network_of([3, 4, 2], seed=5, activation="linear"), 3.0
    feedback = DirectFeedback([normal(1, 4, 2), normal(2, 2, 2)])
    loop, x = Loop.of(network, feedback, P(k_p)), normal(3, 5, 3)
    delta = normal(4, 5, 2)
    # Whether the loop is stable there is not what the equation says.
    found = newton(loop, free_pass(loop, x), network(x).detach() + delta)
    q = torch.cat(loop.feedback)
    j = torch.cat([loop.weights[1], torch.eye(2).double()], dim=1)
    pushed = torch.linalg.solve(q @ j + torch.eye(6).double() / k_p, q @ delta.T).T
    layers = found.layers
    torch.testing.assert_close(torch.cat(layers.v, 1), torch.cat(layers.v_ff, 1) + pushed)


@pytest.mark.parametrize(
    ("without", "with_"),
    [(P(1.2), PD(1.2, 0.3)), (PI(1.0, 0.04), PID(k_p=1.0, alpha=0.04, k_d=0.3))],
    ids=["P", "PI"],
)
def test_a_derivative_part_changes_the_way_but_not_the_steady_state(
    network: Network, without: Controller, with_: Controller
) -> None:
    a, b = (case_of(network, controller) for controller in (without, with_))
    torch.testing.assert_close(settled(a).u, settled(b).u, rtol=0, atol=1e-12)
    runs = [simulate(*case, dt=0.1, steps=300, integrator=RungeKutta4(4)) for case in (a, b)]
    torch.testing.assert_close(runs[0].u[0, -1], runs[1].u[0, -1], rtol=0, atol=1e-8)
    assert float((runs[0].u - runs[1].u).abs().max()) > 0.01


@pytest.mark.parametrize("k_d", [0.0, 0.5, 1.5])
def test_on_one_linear_neuron_the_derivative_part_adds_to_the_time_constant(k_d: float) -> None:
    # tau_v = tau_u = 1 under integral control: (1 + k_d) v'' + v' + v = v*.
    network = Network([1, 1])
    feedback, x = DirectFeedback.transposed(network), torch.zeros(1, 1).double()
    loop = Loop.of(network, feedback, PID(k_p=0.0, alpha=0.0, tau_u=1.0, k_d=k_d, tau_d=0.004), 1.0)
    run = simulate(loop, x, x + 1, dt=0.1, steps=70, integrator=RungeKutta4(50))
    zeta = 1 / (2 * math.sqrt(1 + k_d))
    overshoot = math.exp(-math.pi * zeta / math.sqrt(1 - zeta**2))
    assert float(run.neurons.v[0].max()) == pytest.approx(1 + overshoot, rel=4e-3)


# The two forms of the leak


@given(st.floats(0, 3), st.floats(0, 2), st.floats(0.3, 3), seeds())
@settings(max_examples=10)
def test_both_leaks_give_the_same_control_signal_after_the_conversion(
    k_p: float, alpha: float, tau_u: float, seed: int
) -> None:
    network, scale = network_of([3, 4, 2], seed), 1 + alpha * k_p
    on_integral = PI(k_p, alpha, tau_u, leak="integral")
    on_control = PI(k_p, alpha / scale, tau_u / scale)
    assert on_integral.with_leak_on_control() == on_control
    assert on_control.with_leak_on_control() is on_control
    runs = [
        simulate(*case_of(network, pi, seed=seed), dt=0.1, steps=20, integrator=RungeKutta4(10))
        for pi in (on_integral, on_control)
    ]
    torch.testing.assert_close(runs[0].u, runs[1].u, rtol=1e-9, atol=1e-11)


def test_beside_a_derivative_part_the_leak_cannot_be_converted() -> None:
    with pytest.raises(UserError, match="no leak on u gives the same signal"):
        PID(leak="integral").with_leak_on_control()


# Stability


def system(loop: Loop, v: tuple[Tensor, ...], control: list[Tensor], *xy: Tensor) -> Tensor:
    """Jacobian of `derivative` in (v_1..v_L, u_int, r_slow) of one sample."""
    state = [*v, *control]
    sizes = [t.shape[1] for t in state]
    has = loop.controller

    def flow(z: Tensor) -> Tensor:
        parts = list(torch.split(z.unsqueeze(0), sizes, dim=1))
        vs, rest = tuple(parts[: len(v)]), parts[len(v) :]
        u_int = rest.pop(0) if has.integrates else torch.zeros_like(v[-1])
        r_slow = rest.pop(0) if has.differentiates else None
        d = derivative(loop, LoopState(vs, u_int, u_int, r_slow), *xy)
        slopes = [*d.v, *([d.u_int] * has.integrates)]
        return torch.cat([*slopes, *([] if d.r_slow is None else [d.r_slow])], dim=1).squeeze(0)

    return autograd_jacobian(flow, torch.cat(state, dim=1).squeeze(0))


@pytest.mark.parametrize("controller", CONTROLLERS)
@given(small_networks(["tanh", "sigmoid"], most=4), seeds())
@settings(max_examples=5)
def test_the_system_matrix_is_the_jacobian_of_the_dynamics(
    controller: Controller, network: Network, seed: int
) -> None:
    case, n_out = case_of(network, controller, batch=2, seed=seed), network.sizes[-1]
    v = tuple(normal(seed + k, 2, n) for k, n in enumerate(network.sizes[1:]))
    count = controller.integrates + controller.differentiates
    control = [normal(seed + 9 + k, 2, n_out) for k in range(count)]
    found, slowest = stability_matrix(case.loop, v), slowest_eigenvalue(case.loop, v)
    assert found.shape[1] == sum(network.sizes[1:]) + count * n_out
    for b in range(2):
        one = slice(b, b + 1)
        args = tuple(t[one] for t in v), [t[one] for t in control]
        expected = system(case.loop, *args, case.x[one], case.target[one])
        torch.testing.assert_close(found[b], expected, rtol=1e-9, atol=1e-10)
        theirs = torch.linalg.eigvals(expected).real.max()
        torch.testing.assert_close(slowest[b].real, theirs, rtol=1e-5, atol=1e-5)


@given(st.floats(0.2, 20), seeds())
@settings(max_examples=20)
def test_condition_3_decides_the_stability_of_proportional_control_of_one_layer(
    k_p: float, seed: int
) -> None:
    # tau_v dv/dt = -(I + k_p Q) (v - v_ss): stable where the eigenvalues of Q exceed -1 / k_p.
    network = network_of([2, 3], seed, activation="linear")
    loop = Loop.of(network, DirectFeedback([0.3 * normal(seed, 3, 3)]), P(k_p))
    v = (normal(seed + 1, 1, 3),)
    growth = float(slowest_eigenvalue(loop, v).real) * loop.tau_v
    assert growth == pytest.approx(k_p * float(condition3(loop, v)), rel=1e-9, abs=1e-9)


# In the learning rules


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_analytic_update_is_that_of_the_steady_state_for_a_small_target_step(
    network: Network, controller: Controller
) -> None:
    x, y = normal(1, 4, 3), normal(2, 4, 2)
    options: dict[str, Any] = {"controller": controller}
    errors = []
    for step in (1e-2, 1e-3):
        updates = []
        for rule in (SteadyStateDFC, AnalyticDFC):
            rule(network, target_stepsize=step, **options).backward(x, y)
            grads = [parameter.grad for parameter in network.parameters()]
            updates.append(torch.cat([g.flatten() for g in grads if g is not None]))
        errors.append(float((updates[0] - updates[1]).norm() / updates[0].norm()))
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)  # the neglected curvature


# Bad input, and the hardware


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: P(0.0), "an integral part or k_p > 0"),
        (lambda: P(-1.0), "k_p >= 0"),
        (lambda: PD(0.0, 1.0), "an integral part or k_p > 0"),
        (lambda: PD(1.0, -1.0), "k_d >= 0"),
        (lambda: PD(1.0, 1.0, 0.0), "tau_d > 0"),
        (lambda: PD(1.0, math.nan), "must be finite"),
        (lambda: I(alpha=-0.1), "alpha >= 0"),
        (lambda: I(tau_u=0.0), "tau_u > 0"),
        (lambda: I(tau_u=math.nan), "must be finite"),
        (lambda: Controller(k_p=1.0, alpha=0.1), "alpha must be 0"),
        (lambda: Controller(), "an integral part or k_p > 0"),
        (lambda: Controller(k_p=1.0, leak="u"), "'control' or 'integral'"),  # type: ignore[arg-type]
    ],
)
def test_a_controller_outside_its_range_is_refused(
    make: Callable[[], Controller], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_the_leak_on_the_integral_part_may_be_as_large_as_one_likes() -> None:
    assert PI(2.0, 5.0, leak="integral").damping == pytest.approx(5 / 11)


def test_a_derivative_part_needs_the_slope_of_the_output(network: Network) -> None:
    one = torch.ones(1, 2).double()
    with pytest.raises(UserError, match=r"PID.*slope"):
        PID().output(one, one)
    case = case_of(network, PID())
    assert free_state(case_of(network, PI()).loop, case.x).r_slow is None
    with pytest.raises(UserError, match="slope"):
        derivative(case.loop, free_state(case.loop, case.x)._replace(r_slow=None), *case[1:])


@pytest.mark.parametrize(
    "controller",
    [P(1.0), I(0.05, 0.7), PI(leak="integral"), PD(1.0), PID(), PID(leak="integral")],
)
def test_every_controller_is_placed_in_the_circuit_as_it_is(
    network: Network, controller: Controller
) -> None:
    card, feedback = Card.load("discrete_100mhz"), DirectFeedback.transposed(network)
    design = Design.of(network, feedback, card, controller=controller)
    assert design.controller == controller
    assert design.loop().controller == controller


def test_a_leak_on_u_that_eats_the_integrator_has_no_circuit(network: Network) -> None:
    card, feedback = Card.load("discrete_100mhz"), DirectFeedback.transposed(network)
    with pytest.raises(UserError, match="must stay below 1 in the circuit"):
        Design.of(network, feedback, card, controller=PI(2.0, 0.5))
    Design.of(network, feedback, card, controller=PI(2.0, 0.5, leak="integral"))
