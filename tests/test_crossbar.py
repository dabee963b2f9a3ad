"""The wired crossbar against star-mesh elimination, hand-worked ladders and its ideal limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analogdfc.errors import UserError
from analogdfc.wires.terminals import dual_rail, terminal_admittance

Array = NDArray[np.float64]

resistances = st.none() | st.floats(-2, 2).map(lambda exponent: 10**exponent)  # 0.01 to 100 ohm


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Rectangular arrays of conductances from 0.1 uS to 1 mS."""
    rows, columns, seed = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0))
    rng = np.random.default_rng(seed)
    return np.asarray(10 ** rng.uniform(-7, -3, (rows, columns)))


def node_by_node(g: Array, r_word: float | None, r_bit: float | None) -> Array:
    """Conductances between the terminals, by eliminating one inner node after the other.

    A node whose neighbours it reaches through g_1, g_2, ... is replaced by conductances
    g_i g_k / (g_1 + g_2 + ...) between them: sums of positive numbers, exact to the last digits.
    """
    rows, columns = g.shape
    number = {("row", i, 0): i for i in range(rows)}
    number |= {("column", 0, j): rows + j for j in range(columns)}
    elements = []

    def node(kind: str, i: int, j: int) -> int:
        return number.setdefault((kind, i, j), len(number))

    for i in range(rows):
        for j in range(columns):
            word = node("row", i, 0) if r_word is None else node("word", i, j)
            bit = node("column", 0, j) if r_bit is None else node("bit", i, j)
            elements.append((word, bit, g[i, j]))
            if r_word is not None:
                before = node("row", i, 0) if j == 0 else node("word", i, j - 1)
                elements.append((before, word, 1 / r_word))
            if r_bit is not None:
                after = node("column", 0, j) if i == rows - 1 else node("bit", i + 1, j)
                elements.append((bit, after, 1 / r_bit))
    between = np.zeros((len(number), len(number)))
    for a, b, value in elements:
        between[a, b] += value
        between[b, a] += value
    for k in range(len(number) - 1, rows + columns - 1, -1):
        arms = between[k, :k]
        between = between[:k, :k] + np.outer(arms, arms) / arms.sum()
        np.fill_diagonal(between, 0)
    return between


@given(arrays(), resistances, resistances)
def test_couplings_between_terminals_are_those_of_nodal_elimination(
    g: Array, r_word: float | None, r_bit: float | None
) -> None:
    y = terminal_admittance(g, r_word, r_bit)
    reference = node_by_node(g, r_word, r_bit)
    np.fill_diagonal(y, 0)
    np.testing.assert_allclose(-y, reference, rtol=1e-10, atol=0)


@given(arrays(), resistances, resistances)
def test_the_admittance_is_symmetric_and_its_rows_sum_to_zero(
    g: Array, r_word: float | None, r_bit: float | None
) -> None:
    y = terminal_admittance(g, r_word, r_bit)
    assert y.shape == (sum(g.shape), sum(g.shape))
    np.testing.assert_allclose(y, y.T, rtol=1e-10, atol=0)
    # Wires conduct a hundred siemens, the array microsiemens: what of the diagonal is left after
    # the elimination carries the rounding of the wires.
    wires = sum(1 / r for r in (r_word, r_bit) if r is not None)
    np.testing.assert_allclose(y.sum(axis=1), 0, atol=1e-14 * (wires + g.sum()))


def test_the_diagonal_of_well_wired_arrays_is_exact_too() -> None:
    rng = np.random.default_rng(0)
    for r_word, r_bit in [(0.01, 0.01), (None, 0.01), (0.01, None)]:
        for shape in [(1, 1), (2, 3)]:
            g = 10 ** rng.uniform(-6, -4, shape)
            diagonal = np.diag(terminal_admittance(g, r_word, r_bit))
            exact = node_by_node(g, r_word, r_bit).sum(axis=1)
            np.testing.assert_allclose(diagonal, exact, rtol=1e-10)


@given(arrays())
def test_without_wires_the_columns_collect_the_currents_of_their_own_devices(g: Array) -> None:
    rows, columns = g.shape
    y = terminal_admittance(g, None, None)
    np.testing.assert_array_equal(-y[rows:, :rows], g.T)
    np.testing.assert_allclose(np.diag(y), [*g.sum(axis=1), *g.sum(axis=0)], rtol=1e-14)
    off_diagonal = ~np.eye(rows + columns, dtype=bool)
    assert not (y[:rows, :rows] * off_diagonal[:rows, :rows]).any()
    assert not (y[rows:, rows:] * off_diagonal[rows:, rows:]).any()


@given(arrays(), st.floats(0.01, 100))
def test_wires_of_vanishing_resistance_are_ideal_wires(g: Array, r: float) -> None:
    rows = len(g)
    ideal = terminal_admittance(g, None, None)[rows:, :rows]
    wired = terminal_admittance(g, 1e-9 * r, 1e-9 * r)[rows:, :rows]
    np.testing.assert_allclose(wired, ideal, rtol=1e-8)


@given(st.floats(1e-7, 1e-3), resistances, resistances)
def test_a_single_cell_is_three_resistors_in_series(
    g: float, r_word: float | None, r_bit: float | None
) -> None:
    series = 1 / (1 / g + (r_word or 0) + (r_bit or 0))
    y = terminal_admittance(np.array([[g]]), r_word, r_bit)
    assert y[0, 1] == pytest.approx(-series, rel=1e-12, abs=0)
    assert y[1, 0] == pytest.approx(-series, rel=1e-12, abs=0)


def test_a_row_is_driven_before_its_first_column() -> None:
    # 1 V - 1 ohm - a - 1 ohm - b, both loaded with 1 S to grounded columns: V_a = 0.4, V_b = 0.2.
    y = terminal_admittance(np.ones((1, 2)), 1.0, None)
    assert y[:, 0] == pytest.approx([0.6, -0.4, -0.2], rel=1e-14)


def test_a_column_is_sensed_after_its_last_row() -> None:
    # 1 ohm segments: row 0 reaches the sense through two of them, row 1 through one.
    y = terminal_admittance(np.ones((2, 1)), None, 1.0)
    assert y[2] == pytest.approx([-0.2, -0.4, 0.6], rel=1e-14)


def test_a_long_row_of_equal_cells_is_a_uniform_ladder() -> None:
    # The voltage along a ladder that ends open: cosh((n - k + 1/2) q) with
    # 2 cosh(q) - 2 = r g, the discrete cable equation.
    n, r, g = 40, 10.0, 1e-4
    q = np.arccosh(1 + r * g / 2)
    k = np.arange(n)
    voltage = np.cosh((n - k - 0.5) * q) / np.cosh((n + 0.5) * q)
    y = terminal_admittance(np.full((1, n), g), r, None)
    np.testing.assert_allclose(-y[1:, 0], g * voltage, rtol=1e-11)


def test_the_drop_of_a_square_array_of_equal_devices_is_that_of_its_unperturbed_currents() -> None:
    # Segment j of a row carries n - j devices' currents; averaged over the cells, the drop on the
    # way is r g (n + 1) (2 n + 1) / 6, and as much again on the way out.
    n, r, g = 16, 0.5, 2e-5
    loss = 1 + terminal_admittance(np.full((n, n), g), r, r)[n:, :n] / g
    assert (loss > 0).all()
    assert loss[-1, 0] == loss.max()  # far from both terminals
    assert loss.mean() == pytest.approx(r * g * (n + 1) * (2 * n + 1) / 3, rel=0.01)


@pytest.mark.parametrize("bad", [0.0, -1e-6, np.nan, np.inf])
@pytest.mark.parametrize("r_word", [None, 5.0])
def test_a_conductance_that_is_not_positive_is_named_by_row_and_column(
    bad: float, r_word: float | None
) -> None:
    g = np.full((3, 4), 1e-5)
    g[1, 2] = bad
    with pytest.raises(UserError) as error:
        terminal_admittance(g, r_word, r_word)
    assert str(error.value) == f"conductance of row 1, column 2 is {bad:g} S; it must be > 0"


def test_the_rails_of_an_input_lie_next_to_each_other() -> None:
    plus = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    g = dual_rail(plus, plus + 10)
    assert g.tolist() == [[1, 4], [11, 14], [2, 5], [12, 15], [3, 6], [13, 16]]
