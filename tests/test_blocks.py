"""Matrices of coupled cells do what the same dense matrices do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import normal, seeds
from torch import Tensor

from analogdfc.dynamics import blocks, factor, pieces
from analogdfc.dynamics.blocks import BlockMatrix, Part
from analogdfc.dynamics.factor import Factor
from analogdfc.dynamics.layout import Layout
from analogdfc.dynamics.tableau import ERROR, A, B, C
from analogdfc.errors import ConvergenceError


class Made:
    """Two chips of layers of cells: neighbours are coupled, and all with the last layer."""

    def __init__(self, layers: list[int], size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(sum(layers)), size)
        group = np.repeat(np.repeat(np.arange(len(layers)), layers), size)
        shuffled = rng.permutation(len(labels))
        self.labels, self.group = labels[shuffled], group[shuffled]
        ports = np.tile(np.arange(size), sum(layers))[shuffled] < 2
        self.layout = Layout.of(self.labels, self.group, np.nonzero(ports)[0])
        n, last = len(labels), len(layers) - 1
        near = np.abs(self.group[:, None] - self.group) <= 1
        near |= (self.group[:, None] == last) | (self.group == last)
        within = self.labels[:, None] == self.labels
        across = near & ports[:, None] & ports & ~within
        own = rng.normal(size=(2, n, n)) * within
        own += 6 * size * np.eye(n)
        self.dense = own + 0.3 * rng.normal(size=(2, n, n)) * across

    @property
    def matrix(self) -> BlockMatrix:
        return BlockMatrix.of(self.layout, [[_entries(chip)] for chip in self.dense])

    def grouped(self, z: NDArray[np.float64]) -> Tensor:
        """(chips, n, batch) in grouped order."""
        return torch.from_numpy(z[:, self.layout.order])


def _entries(matrix: NDArray[np.float64]) -> Part:
    rows, columns = np.nonzero(matrix)
    return Part(rows, columns, matrix[rows, columns])


@st.composite
def matrices(draw: st.DrawFn) -> Made:
    layers = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    return Made(layers, draw(st.integers(2, 4)), draw(seeds()))


@pytest.mark.parametrize("most", [0, 10_000], ids=["in pieces", "in one piece"])
@given(matrices(), seeds())
@settings(max_examples=20)
def test_a_product_is_that_of_the_dense_matrix(most: int, made: Made, seed: int) -> None:
    z = normal(seed, 2, made.dense.shape[-1], 3).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_DENSE", most)
        matrix = made.matrix
    found = matrix @ made.grouped(z)
    torch.testing.assert_close(found, made.grouped(made.dense @ z), rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(matrix.dense(), torch.from_numpy(made.dense))


@pytest.mark.parametrize("whole", [0, 10_000], ids=["by layers", "in one piece"])
@given(matrices(), seeds())
@settings(max_examples=40)
def test_a_solution_is_that_of_the_dense_matrix(whole: int, made: Made, seed: int) -> None:
    right = normal(seed, 2, made.dense.shape[-1], 3).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factor, "_WHOLE", whole)
        patch.setattr(factor, "_SHRUNK", 0.0)
        found = Factor(made.matrix).solve(made.grouped(right))
    expected = made.grouped(np.linalg.solve(made.dense, right))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(matrices(), seeds(), st.floats(-2, 2))
@settings(max_examples=20)
def test_a_sum_of_matrices_need_not_couple_the_same_ports(
    made: Made, seed: int, factor: float
) -> None:
    keep = np.random.default_rng(seed).random(made.dense.shape[1:]) < 0.5
    other = made.dense * keep
    more = BlockMatrix.of(made.layout, [[_entries(chip)] for chip in other])
    expected = torch.from_numpy(made.dense + factor * other)
    torch.testing.assert_close(made.matrix.plus(more, factor).dense(), expected)
    torch.testing.assert_close(
        more.plus(made.matrix, 1.0).dense(), made.matrix.plus(more, 1).dense()
    )


def test_chips_can_be_picked_more_than_once() -> None:
    made = Made([2, 3, 2], 3, 5)
    picked = made.matrix.picked(torch.tensor([1, 0, 1]))
    torch.testing.assert_close(picked.dense(), torch.from_numpy(made.dense[[1, 0, 1]]))


def test_cells_of_one_layer_that_differ_in_size_make_groups_of_their_own() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2, 2])
    layout = Layout.of(labels, np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 3, 6]))
    assert [g.tolist() for g in layout.groups] == [[[0, 1]], [[2, 3, 4]], [[5, 6]]]
    assert [p.tolist() for p in layout.ports] == [[0], [1], [1]]
    assert layout.place[layout.order].tolist() == list(range(7))


def test_a_cell_that_is_singular_by_itself_is_an_error() -> None:
    made = Made([2, 2], 3, 1)
    made.dense[:, made.labels == 0] *= made.labels != 0
    with pytest.raises(ConvergenceError, match="singular"):
        Factor(made.matrix)


# The integrator's coefficients


def test_the_tableau_is_of_fourth_order_and_stiffly_accurate() -> None:
    # The conditions of all trees of up to four nodes.
    for weights, order in ((B, 4), (B - ERROR, 3)):
        conditions = [
            (1, weights.sum() - 1), (2, weights @ C - 1 / 2), (3, weights @ C**2 - 1 / 3),
            (3, weights @ A @ C - 1 / 6), (4, weights @ C**3 - 1 / 4),
            (4, weights @ (C * (A @ C)) - 1 / 8), (4, weights @ A @ C**2 - 1 / 12),
            (4, weights @ A @ A @ C - 1 / 24),
        ]  # fmt: skip
        for of, miss in conditions:
            if of <= order:
                assert abs(miss) < 1e-14, (of, miss)
    np.testing.assert_allclose(A @ C, [0, *C[1:] ** 2 / 2], atol=1e-15)  # stages of second order
    assert np.array_equal(A[-1], B)


def test_the_method_damps_what_is_infinitely_fast() -> None:
    # R(z) = 1 + z b (1 - z A)^-1 1 vanishes at infinity and is at most 1 on the axis.
    def growth(z: complex) -> float:
        return float(abs(1 + z * (np.linalg.solve(np.eye(6) - z * A, np.ones(6)) @ B)))

    assert growth(-1e6) < 1e-4
    assert max(growth(1j * y) for y in np.geomspace(1e-2, 1e6, 400)) <= 1 + 1e-12
    assert growth(0.01 - 0.5j) > 0.99


@settings(max_examples=20, deadline=None)
@given(seed=seeds(), last=st.integers(0, 15), reach=st.integers(0, 3))
def test_a_matrix_in_pieces_is_inverted_piece_by_piece(seed: int, last: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    ends = np.cumsum([5, 5, 4, 6, 5] * 2)
    n = ends[-1] + last
    dense = np.tile(4 * np.eye(n), (2, 1, 1))
    for a, b in zip([0, *ends], ends, strict=False):
        dense[:, a:b, a:b] += 0.3 * rng.normal(size=(2, b - a, b - a))
        rows = ends[-1] + rng.permutation(last)[:reach]
        dense[:, rows[:, None], np.arange(a, b)] = 0.2 * rng.normal(size=(2, len(rows), b - a))
    dense[:, :, ends[-1] :] += 0.2 * rng.normal(size=(2, n, last))
    order = rng.permutation(n)
    matrix = torch.from_numpy(dense[:, order][:, :, order])
    right = normal(seed, 2, n, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_SMALL", 8)
        inverse = pieces.Inverse(matrix)
    assert inverse.in_pieces
    torch.testing.assert_close(matrix @ (inverse @ right), right, rtol=1e-10, atol=1e-10)
