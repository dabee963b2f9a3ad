"""Smoothed spectral abscissa against its definition as an integral, and descent along it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.optimize import brentq
from strategies import normal, seeds
from torch import Tensor

from analogdfc.dynamics.abscissa import Stabiliser, smoothed_abscissa, spectral_abscissa
from analogdfc.errors import ConvergenceError, UserError


def from_the_definition(a: Tensor, epsilon: float) -> float:
    """The s at which the integral of ||exp((A - sI)t)||_F^2 over t > 0 is 1 / epsilon."""
    matrix = a.numpy()
    largest = float(np.linalg.eigvals(matrix).real.max())

    def integral(s: float) -> float:
        def squared_norm(t: float) -> float:
            return float(np.square(expm((matrix - s * np.eye(len(matrix))) * t)).sum())

        # Beyond 40 time constants of the slowest mode nothing is left.
        end = 40 / (s - largest)
        points = np.geomspace(end * 1e-3, end / 2, 6).tolist()
        return float(quad(squared_norm, 0, end, points=points, limit=500, epsrel=1e-12)[0])

    high = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]) + len(matrix) * epsilon
    return float(
        brentq(lambda s: integral(s) - 1 / epsilon, largest + 0.4 * epsilon, high, xtol=1e-12)
    )


@settings(max_examples=5)
@given(seed=seeds(), n=st.integers(1, 4), epsilon=st.sampled_from([0.05, 0.5, 2.0]))
def test_smoothed_abscissa_is_the_root_of_its_integral_definition(
    seed: int, n: int, epsilon: float
) -> None:
    a = normal(seed, n, n)
    found = smoothed_abscissa(a, epsilon).value
    assert found == pytest.approx(from_the_definition(a, epsilon), rel=1e-8, abs=1e-8)


@given(seed=seeds(), n=st.integers(1, 6), epsilon=st.sampled_from([0.01, 0.3]))
def test_its_gradient_is_that_of_finite_differences(seed: int, n: int, epsilon: float) -> None:
    a, direction, h = normal(seed, n, n), normal(seed + 1, n, n), 1e-6
    slope = float((smoothed_abscissa(a, epsilon).gradient * direction).sum())
    ends = [smoothed_abscissa(a + sign * h * direction, epsilon).value for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6)


@given(seed=seeds(), n=st.integers(1, 8))
def test_without_smoothing_it_is_the_spectral_abscissa(seed: int, n: int) -> None:
    a, epsilons = normal(seed, n, n), (1e-1, 1e-3, 1e-5, 1e-7)
    exact = spectral_abscissa(a)
    values = [smoothed_abscissa(a, epsilon).value for epsilon in epsilons]
    assert all(low < high for high, low in itertools.pairwise(values))
    # ||exp(At)||_F <= cond(V) sqrt(n) exp(abscissa t), with V the eigenvectors.
    condition = float(np.linalg.cond(np.linalg.eig(a.numpy()).eigenvectors))
    for value, epsilon in zip(values, epsilons, strict=True):
        assert exact < value <= exact + condition**2 * n * epsilon / 2 * (1 + 1e-6)


def test_for_a_normal_matrix_it_has_a_closed_form() -> None:
    # All modes alike: f(s) = n / (2 (s + 3)).
    found = smoothed_abscissa(-3 * torch.eye(4, dtype=torch.float64), 0.5)
    assert found.value == pytest.approx(-3 + 4 * 0.5 / 2)
    assert torch.allclose(found.gradient, torch.eye(4, dtype=torch.float64) / 4)


def loop_of(w: Tensor, alpha: float) -> Callable[[Tensor], Tensor]:
    """Matrix of dynamic inversion's loop as a function of its feedback weights (eq. S9)."""
    n, m = w.shape

    def matrix(q: Tensor) -> Tensor:
        top = torch.cat([-torch.eye(m, dtype=w.dtype), q], dim=1)
        return torch.cat([top, torch.cat([-w, -alpha * torch.eye(n, dtype=w.dtype)], dim=1)])

    return matrix


@settings(max_examples=10)
@given(seed=seeds(), size=st.sampled_from([0.01, 0.3, 1.0]), alpha=st.sampled_from([0.0, 0.01]))
def test_random_feedback_of_a_contracting_layer_is_made_stable(
    seed: int, size: float, alpha: float
) -> None:
    matrix = loop_of(size * normal(seed, 5, 10), alpha)
    found = Stabiliser(margin=0.01).stabilise(matrix, size * normal(seed + 1, 10, 5))
    assert spectral_abscissa(matrix(found)) <= -0.01


@settings(max_examples=10)
@given(seed=seeds())
def test_no_more_is_asked_than_the_leak_of_an_expanding_layer_allows(seed: int) -> None:
    alpha = 0.001
    matrix = loop_of(normal(seed, 8, 4), alpha)
    found = Stabiliser(margin=0.01).stabilise(matrix, normal(seed + 1, 4, 8), floor=-alpha)
    assert -alpha <= spectral_abscissa(matrix(found)) + 1e-9 <= -alpha / 2 + 1e-8


def test_feedback_that_is_stable_enough_is_left_alone() -> None:
    w = normal(0, 3, 6)
    assert torch.equal(Stabiliser().stabilise(loop_of(w, 0.1), w.T), w.T)


def test_a_descent_that_does_not_arrive_is_an_error_with_the_eigenvalue() -> None:
    w, q = normal(0, 5, 10), normal(1, 10, 5)
    with pytest.raises(ConvergenceError, match=r"eigenvalues is \+.*-0.01 is wanted.*iterations"):
        Stabiliser(iterations=1).stabilise(loop_of(w, 0.0), q)


def test_what_no_feedback_can_stabilise_is_an_error_and_not_an_endless_search() -> None:
    # The feedback doesn't enter at all, so that nothing but the bound ends the search.
    constant = torch.diag(torch.tensor([0.5, -1.0], dtype=torch.float64))
    with pytest.raises(ConvergenceError, match=r"eigenvalues is \+0.5"):
        Stabiliser().stabilise(lambda q: constant + 0 * q, normal(0, 2, 2))


def test_a_loop_without_decay_is_refused() -> None:
    with pytest.raises(UserError, match="a leak is needed"):
        Stabiliser().stabilise(loop_of(normal(0, 4, 2), 0.0), normal(1, 2, 4), floor=0.0)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_smoothing_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(UserError, match="epsilon"):
        smoothed_abscissa(normal(0, 2, 2), epsilon)
    with pytest.raises(UserError, match="epsilon > 0"):
        Stabiliser(epsilon=epsilon)


def test_a_smoothing_lost_in_rounding_is_refused() -> None:
    with pytest.raises(UserError, match="lost in the rounding of a matrix"):
        smoothed_abscissa(1e6 * normal(0, 3, 3), 1e-9)


def test_a_matrix_that_has_diverged_has_no_abscissa() -> None:
    a = normal(0, 2, 2)
    a[0, 1] = float("inf")
    for call in (spectral_abscissa, lambda m: smoothed_abscissa(m, 0.1)):
        with pytest.raises(ConvergenceError, match="infinite or undefined"):
            call(a)
