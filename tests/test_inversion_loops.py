"""The loops of dynamic inversion: their matrices, eigenvalues and steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import network_of, normal, seeds
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.controller import PID, I
from analogdfc.dynamics.inversion import ChainedLoop, ControllerLoop, FastLoop, InversionLoop
from analogdfc.dynamics.settling import Simulation
from analogdfc.errors import ConvergenceError
from analogdfc.learning.inversion import (
    RepeatedInversion,
)

Array = NDArray[np.float64]
LINEAR = get_activation("linear")
TANH = get_activation("tanh")


def block_matrix(w: Tensor, q: Tensor, alpha: float) -> Array:
    """Eq. S9 with the signs here."""
    n, m = w.shape
    return np.block([[-np.eye(m), q.detach().numpy()], [-w.detach().numpy(), -alpha * np.eye(n)]])


@given(seed=seeds(), n=st.integers(1, 6), m=st.integers(1, 6), alpha=st.sampled_from([0.0, 2.0]))
def test_the_matrix_is_equation_s9_and_the_short_cut_to_its_abscissa_agrees(
    seed: int, n: int, m: int, alpha: float
) -> None:
    w, q = normal(seed, n, m), normal(seed + 1, m, n)
    loop = ControllerLoop((w,), (TANH,), q, I(alpha=alpha))
    expected = block_matrix(w, q, alpha)
    assert np.allclose(loop.matrix().numpy(), expected, atol=1e-14)
    largest = np.linalg.eigvals(expected).real.max()
    assert loop.abscissa() == pytest.approx(largest, abs=1e-6)


@given(
    seed=seeds(),
    n=st.integers(1, 5),
    m=st.integers(1, 5),
    alpha=st.sampled_from([0.0, 0.01, 0.5]),
    noise=st.sampled_from([0.0, 0.03, 0.3, 3.0]),
    fast=st.booleans(),
)
def test_a_loop_is_called_stable_where_its_eigenvalues_say_so(
    seed: int, n: int, m: int, alpha: float, noise: float, fast: bool
) -> None:
    w = normal(seed, n, m)
    q = w.T + noise * normal(seed + 1, m, n)
    control = I(alpha=alpha, tau_u=2.0)
    loop = FastLoop(w, TANH, q, alpha) if fast else ControllerLoop((w,), (TANH,), q, control)
    largest = float(np.linalg.eigvals(loop.matrix().numpy()).real.max())
    if abs(largest) > 1e-6:
        assert loop.is_stable() == (largest < 0)
    assert loop.is_stable(abs(largest) + 1e-6)


def test_a_loop_of_transposed_weights_is_stable_without_eigenvalues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analogdfc.dynamics.inversion_modes.eigenvalues", None)
    w = normal(0, 4, 30)
    q = w.T + 0.02 * normal(1, 30, 4)
    assert ControllerLoop((w,), (TANH,), q, I(alpha=0.01)).is_stable()
    assert FastLoop(w.T, TANH, q.T, 0.01).is_stable()


@given(
    seed=seeds(),
    n=st.integers(1, 5),
    m=st.integers(1, 5),
    dt=st.sampled_from([0.1, 1.5]),
    control=st.sampled_from(["controller", "fast"]),
)
def test_the_growth_in_a_step_is_that_of_the_iterated_map(
    seed: int, n: int, m: int, dt: float, control: str
) -> None:
    w, q, alpha = normal(seed, n, m), normal(seed + 1, m, n), 0.3
    loop: ControllerLoop | FastLoop
    if control == "fast":
        system = fast_matrix(w, q, alpha)
        loop = FastLoop(w, LINEAR, q, alpha)
    else:
        system = block_matrix(w, q, alpha)
        loop = ControllerLoop((w,), (LINEAR,), q, I(alpha=alpha))
    # One step is a product: first delta moves, then the other part sees the new delta.
    first, second = np.eye(m + n), np.eye(m + n)
    first[:m] += dt * system[:m]
    second[m:] += dt * system[m:]
    largest = np.abs(np.linalg.eigvals(second @ first)).max()
    assert loop.growth(dt) == pytest.approx(largest, abs=1e-6)
    assert loop.abscissa() == pytest.approx(np.linalg.eigvals(system).real.max(), abs=1e-6)


def fast_matrix(w: Tensor, q: Tensor, alpha: float) -> Array:
    """Eqs. S1 and S2 with the signs here."""
    n, m = w.shape
    return np.block([[-alpha * np.eye(m), -q.numpy()], [w.numpy(), -np.eye(n)]])


@pytest.mark.parametrize(
    "loop",
    [
        FastLoop(normal(0, 5, 3), TANH, normal(1, 3, 5), 0.1),
        ControllerLoop((normal(0, 3, 5),), (LINEAR,), normal(1, 5, 3), PID(k_d=0.3)),
        ControllerLoop(
            (normal(0, 4, 5), normal(1, 3, 4)), (TANH, TANH), normal(2, 5, 3), I(alpha=0.1)
        ),
    ],
)
def test_the_matrix_is_the_jacobian_of_the_rates(loop: InversionLoop) -> None:
    numeric = numeric_jacobian(loop)
    assert np.allclose(loop.matrix().numpy(), numeric, atol=1e-8)
    assert loop.abscissa() == pytest.approx(np.linalg.eigvals(numeric).real.max(), abs=1e-6)


def numeric_jacobian(loop: InversionLoop) -> Array:
    """Central differences of the rates around 0."""
    count, h = sum(loop.sizes), 1e-5
    outputs = loop.weights[-1].shape[0] if isinstance(loop, ControllerLoop) else loop.sizes[-1]
    target = torch.zeros(2 * count, outputs, dtype=torch.float64)
    eye = torch.eye(count, dtype=torch.float64)
    state = torch.split(h * torch.cat([eye, -eye]), list(loop.sizes), dim=1)
    rates = torch.cat(loop.rates(state, target), dim=1)
    return ((rates[:count] - rates[count:]) / (2 * h)).T.numpy()


def test_a_chain_has_the_eigenvalues_of_its_loops() -> None:
    network = network_of([3, 5, 4, 2], 0)
    loops = [watched.loop for watched in RepeatedInversion(network).loops()]
    together = np.linalg.eigvals(ChainedLoop(tuple(loops)).matrix().numpy())
    each = np.concatenate([np.linalg.eigvals(loop.matrix().numpy()) for loop in loops])
    # Rounded, since conjugates share their real part only up to rounding.
    ordered = [np.sort_complex(values.round(7)) for values in (together, each)]
    assert np.allclose(ordered[0], ordered[1], atol=1e-6)


def test_a_loop_that_diverges_in_the_middle_of_a_run_is_an_error_with_its_eigenvalue() -> None:
    w = normal(0, 3, 6)
    loop = ControllerLoop((w,), (LINEAR,), -w.T, I(alpha=0.01))
    with pytest.raises(ConvergenceError, match=rf"unstable, .* is \+{loop.abscissa():.3g} per"):
        Simulation().settle(loop, normal(1, 2, 3))
