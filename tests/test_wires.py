"""Arrays with wires against sparse nodal equations, badcrossbar, ngspice and hand-worked cases."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.autograd import gradcheck

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.wires import (
    Cell,
    Exact,
    Iterative,
    Lines,
    NonlinearArray,
    Selector,
    Sinh,
    WiredArray,
    terminal_admittance,
    transfer_matrix,
)
from analogdfc.wires.exact import Factorised, turned
from analogdfc.wires.halves import _Root, near_diagonal

Array = NDArray[np.float64]

GOLDEN = Path(__file__).parent / "golden"
ENDS = ("one", "both")


def random_cells(seed: int, *shape: int, low: float = -6, high: float = -4) -> Tensor:
    """Conductances from 10^low to 10^high siemens."""
    return torch.from_numpy(10 ** np.random.default_rng(seed).uniform(low, high, shape))


def random_inputs(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape))


def nodal(
    g: Array, lines: Lines, row: Array, column: Array, source: Array
) -> tuple[Array, Array, Array]:
    """Word and bit voltages and column currents, from one sparse matrix of all the nodes.

    Nodes that a wire without resistance connects are one node.
    """
    m, n = g.shape
    drivers, senses = np.arange(m), m + np.arange(n)
    cells = np.arange(m * n).reshape(m, n)
    word, bit = m + n + cells, m + n + m * n + cells
    if lines.r_word == 0:
        word = np.repeat(word[:, :1], n, axis=1)
    if lines.r_bit == 0:
        bit = np.repeat(bit[:1], m, axis=0)
    if lines.word_lead == 0:
        word = np.repeat(drivers[:, None], n, axis=1)
    if lines.bit_lead == 0:
        bit = np.repeat(senses[None], m, axis=0)
    edges: list[tuple[Any, Any, Any]] = [(word, bit, g)]
    if lines.r_word:
        edges.append((word[:, :-1], word[:, 1:], np.full((m, n - 1), 1 / lines.r_word)))
    if lines.r_bit:
        edges.append((bit[:-1], bit[1:], np.full((m - 1, n), 1 / lines.r_bit)))
    if lines.word_lead:
        for j in (0, n - 1) if lines.driven == "both" else (0,):
            edges.append((drivers, word[:, j], np.full(m, 1 / lines.word_lead)))
    if lines.bit_lead:
        for i in (0, m - 1) if lines.sensed == "both" else (m - 1,):
            edges.append((senses, bit[i], np.full(n, 1 / lines.bit_lead)))
    a, b, value = (np.concatenate([np.ravel(e[k]) for e in edges]) for k in range(3))
    count = m + n + 2 * m * n
    matrix = sp.csr_array(
        sp.coo_array(
            (np.r_[value, value, -value, -value], (np.r_[a, b, a, b], np.r_[a, b, b, a])),
            shape=(count, count),
        )
    )
    x = np.zeros((count, len(row)))
    x[:m], x[m : m + n] = row.T, column.T
    current = np.zeros_like(x)
    for k in range(len(row)):
        np.add.at(current[:, k], word.ravel(), -source[k].ravel())
        np.add.at(current[:, k], bit.ravel(), source[k].ravel())
    inner = np.unique(np.concatenate([word.ravel(), bit.ravel()]))
    inner = inner[inner >= m + n]
    if len(inner):
        right = current[inner] - matrix[inner][:, : m + n] @ x[: m + n]
        x[inner] = splu(sp.csc_array(matrix[inner][:, inner])).solve(right)
    out = current[senses] - matrix[senses] @ x
    return x.T[:, word], x.T[:, bit], out.T


def nodal_transfer(g: Tensor, lines: Lines) -> Array:
    m, n = g.shape
    zero = np.zeros((m, n))
    return nodal(g.numpy(), lines, np.eye(m), zero, np.zeros((m, m, n)))[2].T


def relative(found: Tensor, expected: Array) -> float:
    return float(np.abs(found.detach().numpy() / expected - 1).max())


resistances = st.sampled_from([0.0, 0.01, 0.3, 1.0, 30.0, 100.0])
any_lines = st.builds(
    Lines,
    r_word=resistances,
    r_bit=resistances,
    r_driver=st.sampled_from([0.0, 50.0]),
    r_sense=st.sampled_from([0.0, 20.0]),
    driven=st.sampled_from(ENDS),
    sensed=st.sampled_from(ENDS),
)


@st.composite
def arrays(draw: st.DrawFn) -> Tensor:
    """Rectangular arrays from 0.1 uS to 1 mS."""
    shape = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    return random_cells(draw(st.integers(0, 999)), *shape, low=-7, high=-3)


@settings(max_examples=60, deadline=None)
@given(g=arrays(), lines=any_lines)
def test_transfer_matrix_is_that_of_the_nodal_equations(g: Tensor, lines: Lines) -> None:
    assert relative(transfer_matrix(g, lines), nodal_transfer(g, lines)) < 1e-10


@settings(max_examples=60, deadline=None)
@given(g=arrays(), lines=any_lines)
def test_couplings_between_terminals_are_those_of_the_nodal_equations(
    g: Tensor, lines: Lines
) -> None:
    m, n = g.shape
    found = Factorised(g, lines, keep=False, terminals=True).couplings()
    assert (found >= 0).all()
    assert torch.equal(found, found.mT)
    np.testing.assert_allclose(found[m:, :m], nodal_transfer(g, lines), rtol=1e-10)
    between = nodal(g.numpy(), lines, np.zeros((n, m)), np.eye(n), np.zeros((n, m, n)))[2]
    taken = -np.diag(between)
    np.fill_diagonal(between, 0)
    # What the reference loses where wires conduct well
    lost = 1e-15 * (g.sum().item() + sum(1 / r for r in (lines.r_bit, lines.bit_lead) if r))
    np.testing.assert_allclose(found[m:, m:], between, rtol=1e-9, atol=lost)
    np.testing.assert_allclose(found.sum(-1)[m:], taken, rtol=1e-9, atol=lost)
    other = Factorised(turned(g), lines.turned(), keep=False, terminals=True).couplings()
    np.testing.assert_allclose(found, other.flip(0, 1), rtol=1e-10)


@pytest.mark.parametrize("shape", [(8, 8), (64, 64), (33, 90), (100, 17), (1, 40), (40, 1)])
@pytest.mark.parametrize("r", [0.01, 1.0, 100.0])
def test_each_element_keeps_ten_digits_whatever_the_wires(shape: tuple[int, int], r: float) -> None:
    g, lines = random_cells(1, *shape), Lines(r_word=r, r_bit=r)
    assert relative(transfer_matrix(g, lines), nodal_transfer(g, lines)) < 1e-10
    v = random_inputs(2, 3, shape[0]).abs()
    zeros = np.zeros((3, shape[1])), np.zeros((3, *shape))
    word, bit, _ = nodal(g.numpy(), lines, v.numpy(), *zeros)
    found = WiredArray(g, lines).voltages(v)
    assert max(relative(found.word, word), relative(found.bit, bit)) < 1e-10


@settings(max_examples=40, deadline=None)
@given(g=arrays(), lines=any_lines, seed=st.integers(0, 99))
def test_node_voltages_balance_inputs_column_voltages_and_sources(
    g: Tensor, lines: Lines, seed: int
) -> None:
    m, n = g.shape
    row, column = random_inputs(seed, 2, m), random_inputs(seed + 1, 2, n)
    source = 1e-5 * random_inputs(seed + 2, 2, m, n)
    word, bit = Factorised(g, lines).voltages(row, column, source)
    expected = nodal(g.numpy(), lines, row.numpy(), column.numpy(), source.numpy())
    np.testing.assert_allclose(word, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bit, expected[1], rtol=1e-9, atol=1e-12)


def golden(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted(GOLDEN.glob(pattern))]


@pytest.mark.parametrize("path", golden("badcrossbar_*.npz"))
def test_wire_solution_agrees_with_badcrossbar(path: Path) -> None:
    with np.load(path) as data:
        array = WiredArray(
            torch.from_numpy(data["g"]),
            Lines(r_word=float(data["r_word"]), r_bit=float(data["r_bit"])),
        )
        v = torch.from_numpy(data["inputs"])
        nodes, currents = array.voltages(v), array.currents(v)
        np.testing.assert_allclose(array.read(v), data["output"], rtol=1e-9)
        np.testing.assert_allclose(nodes.word, data["word"], rtol=1e-9)
        np.testing.assert_allclose(nodes.bit, data["bit"], rtol=1e-9)
        np.testing.assert_allclose(currents.cell, data["cell"], rtol=1e-9)
        # badcrossbar subtracts node voltages of up to 1 V, where a wire of 0.01 ohm drops 1e-7 V
        lost = 4e-16 / max(array.lines.r_word, array.lines.r_bit)
        word, bit = currents.word[..., :-1], currents.bit[..., 1:, :]
        np.testing.assert_allclose(word, data["word_current"], rtol=1e-9, atol=lost)
        np.testing.assert_allclose(bit, data["bit_current"], rtol=1e-9, atol=lost)


@pytest.mark.parametrize("path", golden("ngspice_wires_*.npz"))
def test_wire_solution_agrees_with_ngspice(path: Path) -> None:
    with np.load(path) as data:
        lines = Lines(**{field.name: data[field.name].item() for field in fields(Lines)})
        array, v = WiredArray(torch.from_numpy(data["g"]), lines), torch.from_numpy(data["inputs"])
        np.testing.assert_allclose(array.read(v), data["output"], rtol=1e-9)
        np.testing.assert_allclose(array.voltages(v).word, data["word"], rtol=1e-9)
        np.testing.assert_allclose(array.voltages(v).bit, data["bit"], rtol=1e-9)


@pytest.mark.parametrize(("r_word", "r_bit"), [(1.0, 3.0), (100.0, 0.0), (0.0, 0.01), (0.0, 0.0)])
def test_transfer_matrix_is_the_block_of_the_netlists_admittance(
    r_word: float, r_bit: float
) -> None:
    g = random_cells(2, 9, 6)
    seen = terminal_admittance(g.numpy(), r_word, r_bit)
    assert relative(transfer_matrix(g, Lines(r_word=r_word, r_bit=r_bit)), -seen[9:, :9]) < 1e-9


def test_ideal_lines_give_the_conductances() -> None:
    g = random_cells(3, 5, 7)
    assert torch.equal(
        transfer_matrix(g, Lines(r_word=0, r_bit=0, driven="both", sensed="both")), g.mT
    )


def test_a_driver_sees_the_conductance_of_its_row() -> None:
    g = random_cells(4, 5, 7)
    expected = (g / (1 + 1e4 * g.sum(1, keepdim=True))).mT
    assert (
        relative(transfer_matrix(g, Lines(r_word=0, r_bit=0, r_driver=1e4)), expected.numpy())
        < 1e-14
    )


def test_one_cell_is_a_series_of_resistors() -> None:
    g = torch.tensor([[1e-3]], dtype=torch.float64)
    lines = Lines(r_word=1.0, r_bit=2.0, r_driver=30.0, r_sense=40.0)
    assert float(transfer_matrix(g, lines)) == pytest.approx(1 / (1000 + 31 + 42), rel=1e-14)
    both = replace(lines, driven="both", sensed="both")
    assert float(transfer_matrix(g, both)) == pytest.approx(1 / (1000 + 15.5 + 21), rel=1e-14)


def test_open_cells_carry_no_current_and_are_no_trouble() -> None:
    g = random_cells(5, 12, 10)
    g[3], g[:, 4], g[::2, ::3] = 0, 0, 0
    lines = Lines(r_word=2.0, r_bit=1.0)
    found = transfer_matrix(g, lines)
    assert (found[:, 3] == 0).all()
    assert (found[4] == 0).all()
    np.testing.assert_allclose(found, nodal_transfer(g, lines), rtol=1e-10, atol=1e-25)
    assert (transfer_matrix(torch.zeros_like(g), lines) == 0).all()


def test_a_batch_of_arrays_is_each_array_alone() -> None:
    g, v = random_cells(6, 2, 3, 9, 5), random_inputs(7, 2, 3, 4, 9)
    lines = Lines(r_word=5.0, r_bit=3.0, driven="both")
    array = WiredArray(g, lines)
    for i in range(2):
        for j in range(3):
            alone = WiredArray(g[i, j], lines)
            torch.testing.assert_close(array.read(v)[i, j], alone.read(v[i, j]), rtol=1e-12, atol=0)
            found, expected = array.currents(v).word[i, j], alone.currents(v[i, j]).word
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-18)


def test_single_precision_keeps_single_precision() -> None:
    g, lines = random_cells(8, 40, 24), Lines(r_word=1.0, r_bit=1.0)
    found = transfer_matrix(g.float(), lines)
    assert found.dtype == torch.float32
    assert relative(found.double(), transfer_matrix(g, lines).numpy()) < 1e-4


class Counting(Exact):
    """Counts the factorisations."""

    def __init__(self) -> None:
        self.made: list[bool]
        object.__setattr__(self, "made", [])

    def solver(self, g: Tensor, lines: Lines, *, keep: bool = True) -> Factorised:
        self.made.append(keep)
        return super().solver(g, lines, keep=keep)


def test_a_factorisation_lasts_until_a_conductance_changes() -> None:
    g, v = random_cells(9, 6, 5), random_inputs(10, 3, 6)
    lines, counting = Lines(r_word=10.0, r_bit=10.0), Counting()
    array = WiredArray(g, lines, counting)
    before = array.read(v)
    assert torch.equal(array.read(v), before)
    assert len(counting.made) == 1
    with torch.no_grad():
        g[2, 3] *= 2
    assert torch.equal(array.read(v), v @ transfer_matrix(g, lines).mT)
    assert len(counting.made) == 2
    array.g = g * 3
    assert torch.equal(array.read(v), v @ transfer_matrix(g * 3, lines).mT)
    assert len(counting.made) == 3
    array.voltages(v)
    array.read(v)
    assert counting.made[3:] == [True]


@settings(max_examples=40, deadline=None)
@given(g=arrays(), lines=any_lines, seed=st.integers(0, 99))
def test_branch_currents_obey_kirchhoff_and_ohm(g: Tensor, lines: Lines, seed: int) -> None:
    v = random_inputs(seed, 2, g.shape[0])
    array = WiredArray(g, lines)
    nodes, currents = array.voltages(v), array.currents(v)
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-15}
    cell, word, bit = currents
    torch.testing.assert_close(word[..., :-1] - word[..., 1:], cell, **close)
    torch.testing.assert_close(bit[..., 1:, :] - bit[..., :-1, :], cell, **close)
    torch.testing.assert_close(bit[..., -1, :] - bit[..., 0, :], array.read(v), **close)
    word_drop, bit_drop = nodes.word.diff(dim=-1), nodes.bit.diff(dim=-2)
    volts: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(-word_drop, lines.r_word * word[..., 1:-1], **volts)
    torch.testing.assert_close(-bit_drop, lines.r_bit * bit[..., 1:-1, :], **volts)
    lead = v - nodes.word[..., 0]
    torch.testing.assert_close(lead, lines.word_lead * word[..., 0], **volts)
    torch.testing.assert_close(nodes.bit[..., -1, :], lines.bit_lead * bit[..., -1, :], **volts)
    if lines.driven == "both":
        right = nodes.word[..., -1] - v
        torch.testing.assert_close(right, lines.word_lead * word[..., -1], **volts)
    if lines.sensed == "both":
        top = -nodes.bit[..., 0, :]
        torch.testing.assert_close(top, lines.bit_lead * bit[..., 0, :], **volts)


@settings(max_examples=40, deadline=None)
@given(g=arrays(), lines=any_lines, seed=st.integers(0, 99))
def test_iterative_solution_is_the_exact_one(g: Tensor, lines: Lines, seed: int) -> None:
    v = random_inputs(seed, 3, g.shape[0])
    iterative = WiredArray(g, lines, Iterative(tolerance=1e-11))
    exact = WiredArray(g, lines)
    size = exact.read(v.abs()).abs().max()
    found, expected = iterative.read(v), exact.read(v)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(size))
    torch.testing.assert_close(iterative.voltages(v).bit, exact.voltages(v).bit, rtol=0, atol=1e-9)


def sparse_cells(seed: int, n: int) -> Tensor:
    """Half of the cells open, and some whole rows and columns."""
    g = 1e-4 * torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (n, n))).double()
    g[n // 3], g[:, ::7] = 0, 0
    return g


@pytest.mark.parametrize("r", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize(
    "g",
    [
        pytest.param(random_cells(11, 96, 96), id="usual"),
        pytest.param(random_cells(12, 96, 96, low=-5, high=-2), id="wide"),
        pytest.param(sparse_cells(13, 96), id="sparse"),
    ],
)
def test_iteration_converges_in_tens_of_steps(g: Tensor, ends: Any, r: float) -> None:
    lines = Lines(r_word=r, r_bit=r, driven=ends, sensed=ends)
    solution = WiredArray(g, lines, Iterative()).solution(random_inputs(14, 2, 96))
    assert solution.steps <= 30
    assert float(solution.residual.max()) <= 1e-8


def test_the_residual_reported_is_the_unbalanced_current() -> None:
    g, lines, v = random_cells(15, 20, 30), Lines(r_word=20.0, r_bit=20.0), random_inputs(16, 2, 20)
    found = WiredArray(g, lines, Iterative(tolerance=1e-4)).solution(v)
    cell = g * (found.word - found.bit)
    below = torch.nn.functional.pad(found.bit, (0, 0, 0, 1)).diff(dim=-2) / lines.r_bit
    above = torch.nn.functional.pad(below, (0, 0, 1, 0))[..., :-1, :]
    unbalanced = torch.linalg.vector_norm(cell + below - above, dim=(-2, -1))
    ideal = torch.linalg.vector_norm(
        g * WiredArray(g, replace(lines, r_bit=0.0)).voltages(v).word, dim=(-2, -1)
    )
    torch.testing.assert_close(found.residual, unbalanced / ideal, rtol=1e-6, atol=0)
    assert (found.residual > 1e-9).all()


def test_an_iteration_that_does_not_reach_its_tolerance_says_so() -> None:
    array = WiredArray(
        random_cells(17, 30, 30), Lines(r_word=100.0, r_bit=100.0), Iterative(1e-10, max_steps=2)
    )
    with pytest.raises(ConvergenceError, match=r"residual .* after 2 steps.*max_steps"):
        array.read(random_inputs(18, 30))


def test_a_tolerance_below_rounding_is_not_waited_for() -> None:
    array = WiredArray(
        random_cells(17, 9, 9), Lines(r_word=0.01, r_bit=0.01), Iterative(1e-17, max_steps=10**9)
    )
    with pytest.raises(ConvergenceError, match=r"above the tolerance 1e-17"):
        array.read(random_inputs(18, 9))


def test_silent_inputs_are_solved_beside_others() -> None:
    v = torch.stack([torch.zeros(9), torch.ones(9)]).double()
    array = WiredArray(random_cells(19, 9, 4), Lines(r_word=1.0, r_bit=1.0), Iterative())
    found = array.solution(v)
    assert (found.bit[0] == 0).all()
    assert float(found.residual[0]) == 0


SOME_LINES = [
    pytest.param(Lines(r_word=1.0, r_bit=2.0), id="wires"),
    pytest.param(Lines(r_word=0.0, r_bit=2.0, r_driver=3.0), id="ideal words"),
    pytest.param(
        Lines(r_word=1.0, r_bit=0.0, r_driver=0.0, r_sense=1.0, driven="both", sensed="both"),
        id="ideal bits",
    ),
]


def strong_cells(seed: int, *shape: int) -> Tensor:
    """Cells that conduct about as well as wires of 1 ohm, so that every path counts."""
    return random_cells(seed, *shape, low=-2, high=0).requires_grad_()


@pytest.mark.parametrize("lines", SOME_LINES)
def test_gradient_of_a_transfer_matrix(lines: Lines) -> None:
    assert gradcheck(lambda g: transfer_matrix(g, lines), (strong_cells(20, 2, 3, 4),))


@pytest.mark.parametrize("lines", SOME_LINES)
@pytest.mark.parametrize("method", [Exact(), Iterative(1e-13)])
def test_gradient_of_a_read(method: Exact | Iterative, lines: Lines) -> None:
    g, v = strong_cells(21, 2, 3, 4), random_inputs(22, 2, 2, 3).requires_grad_()
    assert gradcheck(lambda g, v: WiredArray(g, lines, method).read(v), (g, v))
    shared = random_inputs(23, 2, 3).requires_grad_()
    assert gradcheck(lambda g, v: WiredArray(g, lines, method).read(v), (g, shared))


def test_sensitivity_to_a_cell_is_the_product_of_two_cell_voltages() -> None:
    g, lines, v = (
        random_cells(24, 5, 6).requires_grad_(),
        Lines(r_word=50.0, r_bit=50.0),
        random_inputs(25, 5),
    )
    (sensitivity,) = torch.autograd.grad(WiredArray(g, lines).read(v)[2], g)
    solver = Factorised(g, lines)
    word, bit = solver.voltages(v[None], None)
    back_word, back_bit = solver.voltages(None, torch.eye(6, dtype=torch.float64)[2:3])
    expected = ((word - bit) * (back_bit - back_word))[0]
    torch.testing.assert_close(sensitivity, expected, rtol=1e-12, atol=0)


def test_training_through_an_array_uses_its_new_conductances() -> None:
    g = random_cells(26, 4, 3).requires_grad_()
    array, v = WiredArray(g, Lines(r_word=100.0, r_bit=100.0)), random_inputs(27, 8, 4)
    aim = array.read(v).detach() * 1.3
    optimizer = torch.optim.SGD([g], lr=1.0)
    losses = []
    for _ in range(15):
        loss = ((array.read(v) - aim) ** 2).mean()
        (g.grad,) = torch.autograd.grad(loss, g)
        optimizer.step()
        with torch.no_grad():
            g.clamp_(min=0)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


CELLS = [Sinh(0.2), Selector(0.3, 0.05, 0.01)]


@pytest.mark.parametrize("cell", CELLS)
def test_slope_of_a_characteristic(cell: Cell) -> None:
    v = torch.linspace(-1, 1, 41, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(cell.current(v).sum(), v)
    torch.testing.assert_close(cell.slope(v.detach()), slope, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(cell.current(-v), -cell.current(v))


def test_a_selector_passes_its_cell_above_the_threshold_and_its_leak_below() -> None:
    selector = Selector(0.5, 0.02, 1e-3)
    v = torch.tensor([0.05, 1.5], dtype=torch.float64)
    below, above = selector.current(v).tolist()
    assert below == pytest.approx(1e-3 * 0.05, rel=1e-4)
    assert above == pytest.approx(1e-3 * 1.5 + 0.999 * 1.0, rel=1e-9)


def test_one_sinh_cell_in_series_with_its_wires() -> None:
    g, r, v0 = 1e-3, 150.0, 0.1
    expected = brentq(lambda i: g * v0 * math.sinh((0.9 - r * i) / v0) - i, 0, 0.9 / r, xtol=1e-18)
    array = NonlinearArray(
        torch.tensor([[g]], dtype=torch.float64), Lines(r_word=50.0, r_bit=100.0), Sinh(v0)
    )
    found = array.read(torch.tensor([0.9], dtype=torch.float64))
    assert float(found) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("method", [Exact(), Iterative(1e-12)])
@pytest.mark.parametrize("cell", CELLS)
def test_wires_carry_what_nonlinear_cells_pass(cell: Cell, method: Exact | Iterative) -> None:
    g, lines, v = (
        random_cells(28, 2, 7, 9),
        Lines(r_word=80.0, r_bit=60.0, r_driver=10.0),
        random_inputs(29, 2, 3, 7),
    )
    point = NonlinearArray(g, lines, cell, method, tolerance=1e-10).solve(v)
    current = g.unsqueeze(-3) * cell.current(point.cell)
    torch.testing.assert_close(point.current, current)
    for i in range(2):
        # replace the cells by current sources: the wires alone must give the same voltages
        open_cells = torch.zeros_like(g[i]).numpy()
        zero = np.zeros((3, 9))
        word, bit, _ = nodal(open_cells, lines, v[i].numpy(), zero, current[i].numpy())
        np.testing.assert_allclose(point.cell[i], word - bit, rtol=0, atol=1e-9)


def test_cells_far_below_their_nonlinearity_are_ohmic() -> None:
    g, lines, v = random_cells(30, 6, 5), Lines(r_word=100.0, r_bit=100.0), random_inputs(31, 4, 6)
    found = NonlinearArray(g, lines, Sinh(1e4)).read(v)
    torch.testing.assert_close(found, WiredArray(g, lines).read(v), rtol=1e-7, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_a_nonlinear_read(cell: Cell) -> None:
    g, v = strong_cells(32, 2, 2, 3), random_inputs(33, 1, 2).requires_grad_()
    lines = Lines(r_word=1.0, r_bit=2.0, driven="both")
    assert gradcheck(lambda g, v: NonlinearArray(g, lines, cell).read(v), (g, v))


@pytest.mark.parametrize("v0", [0.05, 0.02])
def test_damping_carries_newton_through_steep_cells(v0: float) -> None:
    g, v = random_cells(34, 16, 16), random_inputs(35, 4, 16)
    point = NonlinearArray(g, Lines(r_word=10.0, r_bit=10.0), Sinh(v0)).solve(v)
    assert float(point.mismatch.max()) <= 1e-11


def test_newton_that_does_not_settle_says_so() -> None:
    g, v = random_cells(36, 4, 4), random_inputs(37, 4)
    with pytest.raises(ConvergenceError, match=r"mismatch .* after 2 steps.*max_steps"):
        NonlinearArray(g, Lines(r_word=10.0, r_bit=10.0), Sinh(0.02), max_steps=2).read(v)
    with pytest.raises(ConvergenceError, match="Lower the inputs"):
        NonlinearArray(g, Lines(r_word=10.0, r_bit=10.0), Sinh(1e-3)).read(v)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r_word": -1.0}, r"r_word: -1\.0 ohm.*>= 0"),
        ({"r_bit": math.nan}, "r_bit: nan ohm"),
        ({"r_driver": math.inf}, "r_driver: inf ohm"),
        ({"r_sense": "1"}, "r_sense: '1' ohm"),
        ({"driven": "left"}, "driven: 'left'; it must be 'one' or 'both'"),
        ({"sensed": None}, "sensed: None"),
    ],
)
def test_lines_refuse_what_no_wire_can_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Lines(**({"r_word": 1.0, "r_bit": 1.0} | values))


def test_a_conductance_that_cannot_be_is_named() -> None:
    g = random_cells(38, 2, 3, 4)
    g[1, 2, 0] = -1e-6
    with pytest.raises(UserError, match=r"row 2, column 0 of array \(1,\) is -1e-06 S"):
        transfer_matrix(g, Lines(r_word=1.0, r_bit=1.0))
    g[1, 2, 0] = math.nan
    with pytest.raises(UserError, match=r"is nan S; it must be finite, >= 0"):
        WiredArray(g, Lines(r_word=1.0, r_bit=1.0))
    with pytest.raises(UserError, match=r"\(4,\), torch.int64"):
        transfer_matrix(torch.ones(4, dtype=torch.int64), Lines(r_word=1.0, r_bit=1.0))


def test_inputs_that_do_not_fit_are_refused() -> None:
    array = WiredArray(random_cells(39, 2, 5, 4), Lines(r_word=1.0, r_bit=1.0))
    with pytest.raises(UserError, match=r"inputs of shape \(4,\).*\(\.\.\., k, 5\)"):
        array.read(random_inputs(40, 4))
    with pytest.raises(UserError, match="inputs of shape"):
        array.read(random_inputs(40, 3, 6, 5))
    with pytest.raises(UserError, match=r"torch\.float32 on cpu, conductances torch\.float64"):
        array.read(torch.ones(5))
    with pytest.raises(UserError, match="infinite or no number"):
        array.voltages(torch.full((5,), math.nan, dtype=torch.float64))


def test_methods_say_what_they_do_not_have() -> None:
    g = random_cells(41, 3, 3)
    with pytest.raises(UserError, match="no transfer matrix"):
        _ = WiredArray(g, Lines(r_word=1.0, r_bit=1.0), Iterative()).transfer
    with pytest.raises(UserError, match="no residual"):
        WiredArray(g, Lines(r_word=1.0, r_bit=1.0)).solution(random_inputs(42, 3))
    for wrong in ({"tolerance": 0.0}, {"tolerance": math.nan}, {"max_steps": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Iterative(**wrong)
        with pytest.raises(UserError, match=next(iter(wrong))):
            NonlinearArray(g, Lines(r_word=1.0, r_bit=1.0), Sinh(1.0), **wrong)
    with pytest.raises(UserError, match=r"v0: 0\.0 V"):
        Sinh(0.0)
    with pytest.raises(UserError, match=r"leak: 2\.0"):
        Selector(0.1, 0.1, 2.0)


def test_another_device_gives_the_same_numbers(device: str) -> None:
    g, v = random_cells(43, 2, 33, 20), random_inputs(44, 2, 4, 33)
    for lines in (
        Lines(r_word=1.0, r_bit=2.0, r_driver=50.0),
        Lines(r_word=1.0, r_bit=0.0, r_driver=0.0, r_sense=20.0),
    ):
        expected = WiredArray(g, lines)
        for method in (Exact(), Iterative(1e-12)):
            found = WiredArray(g.to(device), lines, method)
            torch.testing.assert_close(
                found.read(v.to(device)).cpu(), expected.read(v), rtol=1e-8, atol=1e-18
            )
        point = NonlinearArray(g.to(device), lines, Sinh(0.3)).read(v.to(device)).cpu()
        torch.testing.assert_close(
            point, NonlinearArray(g, lines, Sinh(0.3)).read(v), rtol=1e-8, atol=1e-18
        )


@pytest.mark.parametrize("both", [False, True])
def test_an_array_of_many_chunks_is_that_of_its_levels(
    both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 5 x 4 chunks of 8 or 10 cells, rows above and columns to the right to fill up.
    monkeypatch.setattr("analogdfc.wires.dissection.TALL", 8)
    monkeypatch.setattr("analogdfc.wires.dissection.WIDE", 8)
    monkeypatch.setattr("analogdfc.wires.gathering._STEP", 2)
    monkeypatch.setattr("analogdfc.wires.gathering._FEW", 3)
    monkeypatch.setattr("analogdfc.wires.elimination._LARGE", 5)
    monkeypatch.setattr("analogdfc.wires.blocks._PIECE", 7)
    monkeypatch.setattr("analogdfc.wires.blocks._FEW", 5)
    monkeypatch.setattr("analogdfc.wires.blocks._LINE", 3)
    monkeypatch.setattr("analogdfc.wires.elimination._SINGLY", 5)
    monkeypatch.setattr("analogdfc.wires.halves._STRIP", 7)
    monkeypatch.setattr("analogdfc.wires.halves._NEAR", 5)
    monkeypatch.setattr("analogdfc.wires.halves._LEAF", 3)
    g = torch.rand(2, 41, 29, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    g[:, 3, 4] = 0
    lines = Lines(r_word=2e3, r_bit=30.0, r_driver=10.0)
    if both:
        lines = replace(lines, driven="both", sensed="both")
    found = Factorised(1e-5 * g, lines, keep=False, terminals=True)
    levels = Factorised(1e-5 * g, lines, terminals=True)
    torch.testing.assert_close(found.transfer, levels.transfer, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.couplings(), levels.couplings(), rtol=1e-13, atol=0)
    # Without what the drivers couple to each other, but with their sums
    edge = Factorised(1e-5 * g, lines, keep=False, terminals=both)
    between, lost = edge.lost()
    couplings = levels.couplings()
    torch.testing.assert_close(edge.transfer, levels.transfer, rtol=1e-13, atol=0)
    torch.testing.assert_close(between, couplings[:, 41:, 41:], rtol=1e-13, atol=0)
    sums = couplings[:, :41, :41].sum(-1)
    torch.testing.assert_close(lost, sums, rtol=1e-11, atol=0)


@pytest.mark.parametrize("r", [0.1, 5.0])
@pytest.mark.parametrize("open_cell", [False, True])
def test_patches_of_well_conducting_wires_keep_the_digits_of_each_element(
    r: float, open_cell: bool
) -> None:
    g = 1e-6 * (1 + 3 * torch.rand(40, 52, generator=torch.Generator().manual_seed(2)))
    g[30, 20] *= not open_cell
    lines = Lines(r_word=r, r_bit=2 * r, r_driver=3.0, r_sense=7.0)
    # As large as they are in single precision, see `terminals`
    single = Factorised(g * 2.0**70, lines.times(2.0**-70), keep=False)
    exact = nodal_transfer(g.double(), lines)
    np.testing.assert_allclose(single.transfer.double() * 2.0**-70, exact, rtol=2e-6)
    levels = Factorised(g.double(), lines, terminals=True).couplings()
    between, lost = (2.0**-70 * x.double() for x in single.lost())
    torch.testing.assert_close(between, levels[40:, 40:], rtol=5e-6, atol=0)
    loads = exact.sum(0) + levels[:40, :40].sum(-1).numpy()
    np.testing.assert_allclose(exact.sum(0) + lost.numpy(), loads, rtol=1e-6)


def test_patches_of_arrays_that_are_solved_together_are_those_of_each() -> None:
    g = 1e-6 * (1 + torch.rand(2, 30, 27, generator=torch.Generator().manual_seed(3))) * 2.0**70
    lines = Lines(r_word=0.5, r_bit=1.0).times(2.0**-70)
    both = Factorised(g, lines, keep=False, terminals=True).couplings()
    for one, found in zip(g, both, strict=True):
        alone = Factorised(one, lines, keep=False, terminals=True).couplings()
        torch.testing.assert_close(found, alone, rtol=2e-6, atol=0)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 3e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("size", [5, 64, 65, 200])
def test_a_factor_in_halves_is_that_of_the_whole(dtype: type, digits: float, size: int) -> None:
    # A chain of nodes, each of which also reaches all others by little.
    rng = np.random.default_rng(size)
    between = np.diag(rng.uniform(1, 2, size - 1), -1) + 1e-4 * rng.random((size, size))
    between = np.tril(between, -1).astype(dtype)
    e: Array = rng.random((size, 2)).astype(dtype)
    coupled = between.astype(float) + between.T
    sums = e.sum(axis=1, dtype=float)
    d = np.diag(coupled.sum(axis=1) + sums) - coupled
    factor, root = np.linalg.cholesky(d), _Root(np.tril(d).astype(dtype))
    solved = e.copy()
    root.solve(solved)
    np.testing.assert_allclose(solved, np.linalg.solve(factor, e), rtol=digits)
    assert root.lost(np.linalg.solve(factor, sums).astype(dtype)) < digits
    with pytest.raises(ConvergenceError, match="singular"):
        _Root((np.tril(d) - 5 * np.eye(size)).astype(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [1e-9, 0.1, 0.99, 3.0])
def test_a_matrix_near_its_diagonal_keeps_the_digits_of_each_element(
    dtype: torch.dtype, strength: float
) -> None:
    # Couplings over six decades, and a node without any. Each node has a terminal of its own: what
    # these couple to each other are elements of the inverse.
    source, eps = torch.Generator().manual_seed(7), torch.finfo(dtype).eps
    s = 10 ** -torch.rand(2, 3, 20, 20, dtype=torch.float64, generator=source).mul(6)
    s = s.tril(-1) + s.tril(-1).mT
    s[..., 0, :] = s[..., :, 0] = 0
    s *= strength * math.sqrt(eps / 2) / ((s @ s) / s).nan_to_num(posinf=0).max()
    own = torch.eye(20, dtype=torch.float64).expand(2, 3, 20, 20)
    e = torch.cat([torch.rand(2, 3, 20, 11, dtype=torch.float64, generator=source), own], -1)
    root = e.sum(-1).sqrt()
    outer, inner = e.to(dtype), (s * root[..., None] * root[..., None, :]).to(dtype)
    total = (outer.double().sum(-1) + inner.double().sum(-1)).to(dtype)
    half = torch.empty_like(outer)
    lost = near_diagonal(inner, total, outer, half)
    if strength > 1:
        assert lost is None
        return
    assert lost is not None
    assert lost < 10 * eps
    e, share = outer.double(), inner.double() / total.double()[..., None]
    grounded = e / total.double()[..., None]
    expected = e.mT @ (grounded + share @ (grounded + share @ (grounded + share @ grounded)))
    torch.testing.assert_close(half.double().mT @ half.double(), expected, rtol=10 * eps, atol=0)
