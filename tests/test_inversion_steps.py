"""Simulated inverting loops on a tape, against the loops' own steps and SciPy's integration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from strategies import normal
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.controller import PD, PID, Controller, I, P
from analogdfc.dynamics.inversion import ChainedLoop, ControllerLoop, FastLoop, InversionLoop
from analogdfc.dynamics.inversion_steps import OnTape, PartByPart, Steps, simulated
from analogdfc.dynamics.settling import Simulation

SIZES = (7, 6, 4)
SIGMOID, RELU, TANH, LINEAR = map(get_activation, ("sigmoid", "relu", "tanh", "linear"))


def weights(size: float = 0.6) -> tuple[Tensor, Tensor]:
    """W_2 and W_3 of a network."""
    below, middle, above = SIZES
    return size * normal(0, middle, below), size * normal(1, above, middle)


def layer(control: Controller, activation: str = "tanh", size: float = 0.6) -> ControllerLoop:
    """The loop that inverts the last matrix, with its transpose for feedback."""
    w = weights(size)[1]
    return ControllerLoop((w,), (get_activation(activation),), w.T.contiguous(), control)


def stack(control: Controller) -> ControllerLoop:
    """The loop that inverts both."""
    w = weights()
    return ControllerLoop(w, (TANH, RELU), 0.3 * (w[1] @ w[0]).T.contiguous(), control)


def chain() -> ChainedLoop:
    """Loops that invert one after the other at once, one of them by the other kind of control."""
    w, lower = weights()[0], I(alpha=0.1)
    fast = FastLoop(weights()[1], RELU, weights()[1].T.contiguous(), 0.1)
    return ChainedLoop((fast, ControllerLoop((w,), (TANH,), w.T.contiguous(), lower)))


LOOPS: dict[str, Callable[[], InversionLoop]] = {
    "layer": lambda: layer(I(alpha=0.01)),
    "layer, proportional": lambda: layer(P(k_p=0.5)),
    "layer, activation that isn't 0 at 0": lambda: layer(I(alpha=0.1), "sigmoid"),
    "linear layer": lambda: layer(I(alpha=0.0), "linear"),
    "stack": lambda: stack(I(alpha=0.1)),
    "stack, differential": lambda: stack(PD(k_p=0.3, k_d=0.05)),
    "stack, all parts": lambda: stack(PID(k_p=0.3, k_d=0.05, alpha=0.1)),
    "fast": lambda: FastLoop(weights()[0].T.contiguous(), TANH, weights()[0].contiguous(), 0.2),
    "chain": chain,
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", LOOPS)
def test_a_tape_takes_the_steps_of_the_loop(name: str, batch: int) -> None:
    loop = LOOPS[name]()
    target = normal(2, batch, loop.units()[1].shape[1])
    ways: list[Steps] = [OnTape(loop, target, 0.05), PartByPart(loop, target, 0.05)]
    for count in (1, 3, 20, 45):
        for way in ways:
            way.advance(count)
        tape, parts = (torch.cat(way.state(), dim=1) for way in ways)
        assert tape.shape == (batch, sum(loop.sizes))
        assert float(parts.abs().max()) > 0.01
        torch.testing.assert_close(tape, parts, rtol=1e-11, atol=1e-12)
        assert ways[0].residual() == pytest.approx(ways[1].residual(), rel=1e-9)


def test_a_state_that_is_kept_stays_as_it_was() -> None:
    run = OnTape(layer(I(alpha=0.01)), normal(2, 1, SIZES[-1]), 0.1)
    run.advance(5)
    kept = run.state()
    copies = [part.clone() for part in kept]
    run.advance(40)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_of_samples_without_a_target_nothing_moves() -> None:
    run = OnTape(layer(I(alpha=0.01)), torch.zeros(2, SIZES[-1], dtype=torch.float64), 0.1)
    run.advance(30)
    assert run.residual() == 0.0
    assert all(float(part.abs().max()) == 0.0 for part in run.state())


def test_a_simulation_that_diverges_is_seen_by_its_rates() -> None:
    loop = layer(I(alpha=0.0), "linear")
    loop = ControllerLoop(loop.weights, loop.activations, -loop.feedback, loop.controller)
    for kind in (OnTape, PartByPart):
        run = kind(loop, normal(2, 1, SIZES[-1]), 0.5)
        run.advance(20000)
        assert run.residual() == float("inf")


def test_small_loops_run_on_a_tape_and_large_ones_part_by_part() -> None:
    loop = layer(I(alpha=0.01))
    assert isinstance(simulated(loop, normal(2, 1, SIZES[-1]), 0.1), OnTape)
    assert isinstance(simulated(loop, normal(2, 5000, SIZES[-1]), 0.1), PartByPart)


def integrated(loop: InversionLoop, target: Tensor, duration: float) -> NDArray[np.float64]:
    """The whole state of one sample, by SciPy."""
    sizes = list(loop.sizes)

    def rates(_: float, z: NDArray[np.float64]) -> NDArray[np.float64]:
        state = torch.split(torch.from_numpy(z)[None], sizes, dim=1)
        return torch.cat(loop.rates(state, target), dim=1)[0].numpy()

    start = torch.cat(loop.start(target), dim=1)[0].numpy()
    found = solve_ivp(rates, (0.0, duration), start, method="LSODA", rtol=1e-10, atol=1e-12)
    return np.asarray(found.y[:, -1])


@pytest.mark.parametrize("name", ["layer", "stack", "chain", "fast"])
def test_the_rest_is_that_of_the_differential_equations(name: str) -> None:
    loop = LOOPS[name]()
    target = 0.2 * normal(2, 1, loop.units()[1].shape[1])
    found = Simulation(dt=0.1, steps=10000, required=1e-8).settle(loop, target)
    end = torch.from_numpy(integrated(loop, target, 1000.0))[None]
    state = torch.split(end, list(loop.sizes), dim=1)
    for error, place in zip(found.errors, loop.places, strict=True):
        torch.testing.assert_close(error, state[place], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.0, 0.001])
@pytest.mark.parametrize("size", [0.01, 0.1])
def test_the_end_of_the_span_is_that_of_the_equations_where_nothing_rests(
    alpha: float, size: float
) -> None:
    # Weights as small as the paper's: after 10000 steps of 0.1 the slow modes still move.
    loop = layer(I(alpha=alpha), size=size)
    target = 2.0 * normal(2, 1, SIZES[-1])
    found = Simulation(dt=0.1, steps=10000).settle(loop, target)
    assert found.residual > 1e-5
    state = torch.from_numpy(integrated(loop, target, 1000.0))[None, : SIZES[1]]
    torch.testing.assert_close(found.errors[0], state, rtol=2e-3, atol=2e-3)
