"""The wired crossbar against star-mesh elimination, hand-worked ladders and its ideal limit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analogdfc.errors import UserError
from analogdfc.wires import (
    Lines,
    Tiling,
    array_energy,
    array_power,
    dual_rail,
    loaded_transfer,
    terminal_admittance,
    terminal_admittances,
    wire_admittance,
)
from analogdfc.wires.iterative import Preconditioned
from analogdfc.wires.remembered import SOLUTIONS, Remembered

Array = NDArray[np.float64]
Exact = NDArray[np.longdouble]

resistances = st.just(0.0) | st.floats(-2, 2).map(lambda exponent: 10**exponent)  # to 100 ohm
tilings = st.builds(
    Tiling, st.none() | st.integers(1, 5), st.none() | st.integers(1, 5)
)  # many don't divide the array


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Rectangular arrays of conductances from 0.1 uS to 1 mS."""
    rows, columns, seed = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0))
    rng = np.random.default_rng(seed)
    return np.asarray(10 ** rng.uniform(-7, -3, (rows, columns)))


Element = tuple[int, int, float]


def network(
    g: Array, r_word: float, r_bit: float, tiling: Tiling
) -> tuple[list[Element], list[Element], int]:
    """Devices, segments of wire and the number of nodes of a whole tiled array.

    Each tile's lines are drawn segment after segment, from the row's driver, to the column's sense.
    """
    rows, columns = g.shape
    height, width = tiling.rows or rows, tiling.columns or columns
    number: dict[tuple[object, ...], int] = {("row", i): i for i in range(rows)}
    number |= {("column", j): rows + j for j in range(columns)}

    def node(*name: object) -> int:
        return number.setdefault(name, len(number))

    devices, wires = [], []
    for i in range(rows):
        for j in range(columns):
            first, last = j % width == 0, i % height == height - 1 or i == rows - 1
            word = node("word", i, j) if r_word else node("row", i)
            bit = node("bit", i, j) if r_bit else node("column", j)
            devices.append((word, bit, g[i, j]))
            if r_word:
                before = node("row", i) if first else node("word", i, j - 1)
                wires.append((before, word, 1 / r_word))
            if r_bit:
                after = node("column", j) if last else node("bit", i + 1, j)
                wires.append((bit, after, 1 / r_bit))
    return devices, wires, len(number)


def node_by_node(
    g: Array, r_word: float, r_bit: float, tiling: Tiling | None = None
) -> tuple[Array, Array]:
    """Conductances between the terminals, and the matrix of the power in the wires.

    A node whose neighbours it reaches through g_1, g_2, ... is replaced by conductances
    g_i g_k / (g_1 + g_2 + ...) between them: sums of positive numbers, exact to the last digits.
    """
    devices, wires, count = network(g, r_word, r_bit, tiling or Tiling())
    terminals = sum(g.shape)
    between = np.zeros((count, count), dtype=np.longdouble)
    for a, b, value in devices + wires:
        between[a, b] += value
        between[b, a] += value
    shares: list[Exact] = []
    for k in range(count - 1, terminals - 1, -1):
        arms = between[k, :k]
        shares.append(arms / arms.sum())
        between = between[:k, :k] + np.outer(arms, arms) / arms.sum()
        np.fill_diagonal(between, 0)
    volts = np.eye(terminals, dtype=np.longdouble)
    for share in reversed(shares):
        volts = np.concatenate([volts, (share @ volts)[None]])
    power = np.zeros((terminals, terminals), dtype=np.longdouble)
    for a, b, value in wires:
        power += value * np.outer(volts[a] - volts[b], volts[a] - volts[b])
    return between.astype(float), power.astype(float)


def digits(power: Array, r_word: float, r_bit: float) -> float:
    """How well the power is known: 1e-12, less what differences of node voltages lose."""
    largest, conducts = abs(power).max(), sum(1 / r for r in (r_word, r_bit) if r)
    lost = 10 * float(np.finfo(np.longdouble).eps) * np.sqrt(largest * conducts)
    return float(1e-12 * largest + lost)


@given(arrays(), resistances, resistances, tilings)
def test_a_tiled_array_takes_what_the_whole_of_its_network_takes(
    g: Array, r_word: float, r_bit: float, tiling: Tiling
) -> None:
    couplings, power = node_by_node(g, r_word, r_bit, tiling)
    y = terminal_admittance(g, r_word, r_bit, tiling).copy()
    np.testing.assert_allclose(np.diag(y), couplings.sum(axis=1), rtol=1e-12)
    np.fill_diagonal(y, 0)
    np.testing.assert_allclose(-y, couplings, rtol=1e-12, atol=0)
    lost = wire_admittance(g, r_word, r_bit, tiling)
    np.testing.assert_allclose(lost, power, rtol=0, atol=digits(power, r_word, r_bit))


@pytest.mark.parametrize(("r_word", "r_bit"), [(5.0, 5.0), (3.0, 0.0), (0.0, 3.0)])
def test_an_array_of_many_levels_of_blocks_agrees_with_its_network_too(
    r_word: float, r_bit: float
) -> None:
    g = 10 ** np.random.default_rng(7).uniform(-6, -4, (11, 9))
    couplings, power = node_by_node(g, r_word, r_bit)
    y = terminal_admittance(g, r_word, r_bit).copy()
    np.fill_diagonal(y, 0)
    np.testing.assert_allclose(-y, couplings, rtol=1e-12, atol=0)
    lost = wire_admittance(g, r_word, r_bit)
    np.testing.assert_allclose(lost, power, rtol=0, atol=digits(power, r_word, r_bit))


@given(arrays(), resistances, resistances, tilings)
def test_what_a_tiled_array_takes_for_given_voltages_is_that_of_its_admittance(
    g: Array, r_word: float, r_bit: float, tiling: Tiling
) -> None:
    rows, columns = g.shape
    volts = np.random.default_rng(1).normal(size=(2, 3, rows + columns))
    given = torch.from_numpy(volts)
    found = array_power(
        torch.from_numpy(g),
        Lines(r_word=r_word, r_bit=r_bit),
        given[..., :rows],
        given[..., rows:],
        tiling,
    )
    states = np.concatenate([volts, volts.mean(axis=0, keepdims=True)])
    current = states @ terminal_admittance(g, r_word, r_bit, tiling)
    lost = ((states @ wire_admittance(g, r_word, r_bit, tiling)) * states).sum(axis=-1)
    taken = (states * current).sum(axis=-1)
    np.testing.assert_allclose(found.rows, current[..., :rows], rtol=1e-4, atol=1e-5 * g.max())
    np.testing.assert_allclose(found.wires, lost, rtol=1e-4, atol=1e-9 * g.max())
    np.testing.assert_allclose(found.devices + found.wires, taken, rtol=1e-4)


@given(arrays(), resistances, resistances, tilings)
def test_the_energy_of_an_array_that_moves_is_the_sum_of_its_powers(
    g: Array, r_word: float, r_bit: float, tiling: Tiling
) -> None:
    rng = np.random.default_rng(1)
    rows = len(g)
    volts, weights = rng.normal(size=(6, 2, sum(g.shape))), rng.uniform(size=6)
    given = torch.from_numpy(volts)
    found = array_energy(
        torch.from_numpy(g),
        Lines(r_word=r_word, r_bit=r_bit),
        given[..., :rows],
        given[..., rows:],
        torch.from_numpy(weights),
        tiling,
    )
    current = volts @ terminal_admittance(g, r_word, r_bit, tiling)
    lost = weights @ ((volts @ wire_admittance(g, r_word, r_bit, tiling)) * volts).sum(axis=-1)
    taken = weights @ (volts * current).sum(axis=-1)
    np.testing.assert_allclose(found.rows, current[..., :rows], rtol=1e-9, atol=1e-12 * g.max())
    np.testing.assert_allclose(found.wires, lost, rtol=1e-4, atol=1e-9 * g.max())
    np.testing.assert_allclose(found.devices + found.wires, taken, rtol=1e-9)


def test_few_directions_of_many_states_are_all_that_is_solved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solved, voltages = [], Preconditioned.voltages

    def counted(
        self: Preconditioned, row: torch.Tensor, column: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        solved.append(row.shape[-2])
        return voltages(self, row, column)

    monkeypatch.setattr(Preconditioned, "voltages", counted)
    g, lines = torch.full((4, 3), 1e-5, dtype=torch.float64), Lines(r_word=1.0, r_bit=2.0)
    share = torch.linspace(0, 1, 30, dtype=torch.float64)[:, None, None]
    ends = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 2, 7)))
    on_the_way = ends[0] + share * (ends[1] - ends[0])
    seconds = torch.ones(30, dtype=torch.float64)
    # A way of one sample between two states, and another that stays where it is.
    on_the_way[:, 1] = ends[0, 1]
    array_energy(g, lines, on_the_way[..., :4], on_the_way[..., 4:], seconds)
    assert sum(solved) == 2 + 1


def test_the_arrays_of_a_large_autoencoder_are_all_remembered() -> None:
    sizes = 784, 256, 32, 256, 784
    forward = [2 * (n + 1) + m for n, m in itertools.pairwise(sizes)]
    feedback = [2 * sizes[-1] + m for m in sizes[1:]]
    room = Remembered()

    def solve(terminals: int) -> None:
        g = np.full((1, 1), float(room.kept))  # another one each
        room.get(g, "", lambda: (np.broadcast_to(0.0, (terminals, terminals)),))

    for terminals in (*forward, *feedback):
        solve(terminals)
    assert room.kept == sum(8 * n**2 for n in (*forward, *feedback))


def test_couplings_may_decay_beyond_the_smallest_number_along_a_line() -> None:
    g = np.full((2, 120), 1e-3)
    couplings, _ = node_by_node(g, 1e7, 0.0)
    y = terminal_admittance(g, 1e7, 0.0)
    np.testing.assert_allclose(-y[0, 2:60], couplings[0, 2:60], rtol=1e-11)
    np.testing.assert_allclose(-y[60, 30:60], couplings[60, 30:60], rtol=1e-11)
    assert 0 < couplings[0, 60] < 1e-200
    assert np.isfinite(y).all()
    assert y[2, 121] == couplings[2, 121] == 0


@pytest.mark.parametrize("r", [1e-3, 5.0, 1e4])
def test_single_precision_keeps_the_digits_of_each_element(
    r: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = 10 ** np.random.default_rng(5).uniform(-9, -4, (90, 70))
    monkeypatch.setattr("analogdfc.wires.elimination._LARGE", 6)
    double = terminal_admittance(g, r, 2 * r)
    monkeypatch.setattr("analogdfc.wires.terminals.LARGE", 100)
    SOLUTIONS.forget()
    single = terminal_admittance(g, r, 2 * r)
    assert 1e-8 < np.abs(single / double - 1).max() < 1e-5
    np.testing.assert_allclose(single.sum(axis=1), 0, atol=1e-15 * single.max())
    # Where it would cost more than it may, it isn't taken.
    monkeypatch.setattr("analogdfc.wires.terminals._ROUNDING", 1e-9)
    SOLUTIONS.forget()
    np.testing.assert_array_equal(terminal_admittance(g, r, 2 * r), double)
    SOLUTIONS.forget()


@pytest.mark.parametrize(("r_word", "r_bit"), [(5.0, 3.0), (0.0, 3.0), (3.0, 0.0)])
@pytest.mark.parametrize("cells", [2**40, 0])
def test_what_an_array_hands_on_is_part_of_its_admittance(
    r_word: float, r_bit: float, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = 10 ** np.random.default_rng(6).uniform(-6, -5, (50, 34))
    y = terminal_admittance(g, r_word, r_bit)
    monkeypatch.setattr("analogdfc.wires.terminals._SHARED", 0)
    monkeypatch.setattr("analogdfc.wires.terminals.LARGE", cells)
    found = loaded_transfer(g, r_word, r_bit)
    tolerance = 3e-6 if cells == 0 and r_word and r_bit else 1e-12
    np.testing.assert_allclose(found.transfer, -y[50:, :50], rtol=tolerance)
    np.testing.assert_allclose(found.columns, y[50:, 50:], rtol=tolerance)
    np.testing.assert_allclose(found.loads, y.diagonal()[:50], rtol=tolerance)
    for part in found:
        part *= 2  # It is the caller's own.
    again = loaded_transfer(g, r_word, r_bit)
    np.testing.assert_array_equal(2 * again.transfer, found.transfer)
    SOLUTIONS.forget()


def test_tiles_shorten_the_lines() -> None:
    g = np.full((24, 12), 1e-4)

    def drop(tiling: Tiling) -> float:
        seen = -terminal_admittance(g, 5.0, 5.0, tiling)[24:, :24]
        return float(1 - seen.mean() / 1e-4)

    whole, halves, cells = drop(Tiling()), drop(Tiling(12, 6)), drop(Tiling(1, 1))
    assert whole > 3 * halves > 0
    assert cells == pytest.approx(1 - 1 / (1 + 1e-4 * 10))


def test_a_tile_as_large_as_the_array_is_the_array() -> None:
    g = 10 ** np.random.default_rng(3).uniform(-6, -4, (6, 4))
    whole = terminal_admittance(g, 5.0, 2.0)
    np.testing.assert_array_equal(terminal_admittance(g, 5.0, 2.0, Tiling(6, 4)), whole)
    np.testing.assert_array_equal(terminal_admittance(g, 5.0, 2.0, Tiling(100, None)), whole)


def test_an_open_cell_leaves_the_others_as_they_are() -> None:
    g = np.full((3, 2), 1e-4)
    g[:, 1] = 0
    y = terminal_admittance(g, 5.0, 5.0)
    np.testing.assert_allclose(y[:4, :4], terminal_admittance(g[:, :1], 5.0, 5.0), rtol=1e-13)
    assert not y[4].any()


def test_what_was_solved_is_known_by_its_content_and_forgotten_in_turn() -> None:
    solved: list[float] = []

    def ask(value: float, key: str = "") -> float:
        def solve() -> tuple[Array]:
            solved.append(value)
            return (np.full(8, value),)

        (found,) = room.get(np.full((2, 2), value), key, solve)
        assert not found.flags.writeable
        return float(found[0])

    room = Remembered(largest=2 * 8 * 8)
    assert [ask(1), ask(2), ask(1)] == [1, 2, 1]
    assert solved == [1, 2]
    ask(3)  # the second is the one that nobody has asked for since
    assert [ask(1), ask(2)] == [1, 2]
    assert solved == [1, 2, 3, 2]
    ask(2, "other wires")
    assert solved == [1, 2, 3, 2, 2]
    assert room.kept == 2 * 8 * 8
    room.forget()
    assert room.kept == 0
    assert ask(2) == 2
    assert solved == [1, 2, 3, 2, 2, 2]


def test_arrays_that_are_solved_together_are_what_each_is_by_itself() -> None:
    several = list(10 ** np.random.default_rng(7).uniform(-6, -4, (4, 9, 5)))
    SOLUTIONS.forget()
    alone = [terminal_admittance(g, 5.0, 2.0) for g in several]
    SOLUTIONS.forget()
    known = terminal_admittance(several[2], 5.0, 2.0)
    together = terminal_admittances([*several, several[0]], 5.0, 2.0)
    np.testing.assert_allclose(together[:4], alone, rtol=1e-14)
    assert together[2] is known
    assert together[4] is together[0] is terminal_admittance(several[0], 5.0, 2.0)
    assert SOLUTIONS.kept == 4 * 8 * 14**2
    # Whoever is forgotten gives back all memory.
    assert all(y.base is None and not y.flags.writeable for y in together if y is not known)


@given(arrays(), resistances, resistances)
def test_the_admittance_is_symmetric_and_its_rows_sum_to_zero(
    g: Array, r_word: float, r_bit: float
) -> None:
    y = terminal_admittance(g, r_word, r_bit)
    assert y.shape == (sum(g.shape), sum(g.shape))
    np.testing.assert_allclose(y, y.T, rtol=1e-10, atol=0)
    # Wires conduct a hundred siemens, the array microsiemens: what of the diagonal is left after
    # the elimination carries the rounding of the wires.
    wires = sum(1 / r for r in (r_word, r_bit) if r)
    np.testing.assert_allclose(y.sum(axis=1), 0, atol=1e-14 * (wires + g.sum()))


def test_the_diagonal_of_well_wired_arrays_is_exact_too() -> None:
    rng = np.random.default_rng(0)
    for r_word, r_bit in [(0.01, 0.01), (0.0, 0.01), (0.01, 0.0)]:
        for shape in [(1, 1), (2, 3)]:
            g = 10 ** rng.uniform(-6, -4, shape)
            diagonal = np.diag(terminal_admittance(g, r_word, r_bit))
            exact = node_by_node(g, r_word, r_bit)[0].sum(axis=1)
            np.testing.assert_allclose(diagonal, exact, rtol=1e-10)


@given(arrays())
def test_without_wires_the_columns_collect_the_currents_of_their_own_devices(g: Array) -> None:
    rows, columns = g.shape
    y = terminal_admittance(g, 0.0, 0.0)
    np.testing.assert_array_equal(-y[rows:, :rows], g.T)
    np.testing.assert_allclose(np.diag(y), [*g.sum(axis=1), *g.sum(axis=0)], rtol=1e-14)
    off_diagonal = ~np.eye(rows + columns, dtype=bool)
    assert not (y[:rows, :rows] * off_diagonal[:rows, :rows]).any()
    assert not (y[rows:, rows:] * off_diagonal[rows:, rows:]).any()


@given(arrays(), st.floats(0.01, 100))
def test_wires_of_vanishing_resistance_are_ideal_wires(g: Array, r: float) -> None:
    rows = len(g)
    ideal = terminal_admittance(g, 0.0, 0.0)[rows:, :rows]
    wired = terminal_admittance(g, 1e-9 * r, 1e-9 * r)[rows:, :rows]
    np.testing.assert_allclose(wired, ideal, rtol=1e-8)


@given(st.floats(1e-7, 1e-3), resistances, resistances)
def test_a_single_cell_is_three_resistors_in_series(g: float, r_word: float, r_bit: float) -> None:
    series = 1 / (1 / g + r_word + r_bit)
    y = terminal_admittance(np.array([[g]]), r_word, r_bit)
    assert y[0, 1] == pytest.approx(-series, rel=1e-12, abs=0)
    assert y[1, 0] == pytest.approx(-series, rel=1e-12, abs=0)


def test_a_row_is_driven_before_its_first_column() -> None:
    # 1 V - 1 ohm - a - 1 ohm - b, both loaded with 1 S to grounded columns: V_a = 0.4, V_b = 0.2.
    y = terminal_admittance(np.ones((1, 2)), 1.0, 0.0)
    assert y[:, 0] == pytest.approx([0.6, -0.4, -0.2], rel=1e-14)


def test_a_column_is_sensed_after_its_last_row() -> None:
    # 1 ohm segments: row 0 reaches the sense through two of them, row 1 through one.
    y = terminal_admittance(np.ones((2, 1)), 0.0, 1.0)
    assert y[2] == pytest.approx([-0.2, -0.4, 0.6], rel=1e-14)


def test_a_long_row_of_equal_cells_is_a_uniform_ladder() -> None:
    # The voltage along a ladder that ends open: cosh((n - k + 1/2) q) with
    # 2 cosh(q) - 2 = r g, the discrete cable equation.
    n, r, g = 40, 10.0, 1e-4
    q = np.arccosh(1 + r * g / 2)
    k = np.arange(n)
    voltage = np.cosh((n - k - 0.5) * q) / np.cosh((n + 0.5) * q)
    y = terminal_admittance(np.full((1, n), g), r, 0.0)
    np.testing.assert_allclose(-y[1:, 0], g * voltage, rtol=1e-11)


def test_the_drop_of_a_square_array_of_equal_devices_is_that_of_its_unperturbed_currents() -> None:
    # Segment j of a row carries n - j devices' currents; averaged over the cells, the drop on the
    # way is r g (n + 1) (2 n + 1) / 6, and as much again on the way out.
    n, r, g = 16, 0.5, 2e-5
    loss = 1 + terminal_admittance(np.full((n, n), g), r, r)[n:, :n] / g
    assert (loss > 0).all()
    assert loss[-1, 0] == loss.max()  # far from both terminals
    assert loss.mean() == pytest.approx(r * g * (n + 1) * (2 * n + 1) / 3, rel=0.01)


@pytest.mark.parametrize("bad", [-1e-6, np.nan, np.inf])
@pytest.mark.parametrize("r_word", [0.0, 5.0])
def test_a_conductance_that_is_negative_or_not_finite_is_named_by_row_and_column(
    bad: float, r_word: float
) -> None:
    g = np.full((3, 4), 1e-5)
    g[1, 2] = bad
    with pytest.raises(UserError) as error:
        terminal_admittance(g, r_word, r_word)
    assert (
        str(error.value) == f"conductance of row 1, column 2 is {bad:g} S; it must be finite, >= 0"
    )


def test_the_rails_of_an_input_lie_next_to_each_other() -> None:
    plus = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    g = dual_rail(plus, plus + 10)
    assert g.tolist() == [[1, 4], [11, 14], [2, 5], [12, 15], [3, 6], [13, 16]]
