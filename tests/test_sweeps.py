"""Wide layers are solved by sweeps, which find what an elimination finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from strategies import normal
from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Trajectory, blocks, factor
from analogdfc.dynamics.blocks import BlockMatrix, Part
from analogdfc.dynamics.factor import Factor
from analogdfc.dynamics.layout import Layout
from analogdfc.dynamics.sweeps import ACCURACY, Sweeps
from analogdfc.errors import ConvergenceError
from benchmarks._measure import case

TOLERANCE = 2e-6


def run(sizes: list[int], rows: int) -> tuple[Trajectory, Behavioural]:
    here = case(sizes, 0, 3).in_tiles(rows)
    model = Behavioural([Chip.of(here.design, 0)], tolerance=TOLERANCE)
    (found,) = model.run(here.x, here.step, dt=here.dt, steps=250)
    return found, model


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Sweeps where there are any ports."""
    monkeypatch.setattr(factor, "_WHOLE", 0)
    monkeypatch.setattr(factor, "_BORDER", 1)
    return monkeypatch


def test_a_run_by_sweeps_is_that_by_elimination_to_much_less_than_its_error(
    swept: pytest.MonkeyPatch,
) -> None:
    sizes, rows = [6, 12, 9, 2], 8
    ours, model = run(sizes, rows)
    assert model.integrator.eliminated == 0
    swept.setattr(factor, "_SHRUNK", 0.0)
    layered, other = run(sizes, rows)
    assert other.integrator.eliminated > 0
    swept.undo()
    whole, direct = run(sizes, rows)
    assert direct.integrator.eliminated == 0
    unit = model.chips[0].design.card.scale
    for theirs in (layered, whole):
        miss = (ours.u - theirs.u).abs().max() * unit.control
        assert miss < 2e-3 * TOLERANCE
        for a, b in zip(ours.neurons.v, theirs.neurons.v, strict=True):
            assert (a - b).abs().max() * unit.activation < 2e-3 * TOLERANCE


def layered(dense: NDArray[np.float64], layers: list[int]) -> BlockMatrix:
    """A matrix of one-port cells of one unknown, in layers."""
    count = len(dense)
    layout = Layout.of(
        np.arange(count), np.repeat(np.arange(len(layers)), layers), np.arange(count)
    )
    rows, columns = np.nonzero(dense)
    return BlockMatrix.of(layout, [[Part(rows, columns, dense[rows, columns])]])


def wired(n: int, strength: float) -> NDArray[np.float64]:
    """Neurons on lines that all share, and a controller that all drive and that drives them.

    A column couples to another as far as the lines that both have before them.
    """
    dense = np.eye(n + 1)
    along = np.arange(1, n + 1) / n
    dense[:n, :n] += strength / n * np.minimum.outer(along, along)
    dense[:n, n], dense[n, :n] = 0.4, -3.0 / n
    return dense


def solved(matrix: BlockMatrix, right: Tensor) -> tuple[Tensor, Sweeps | None]:
    found = Factor(matrix)
    return found.solve(right), found.sweeps


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_wires_that_a_wide_layer_shares_need_no_more_sweeps_the_stronger_they_couple(
    swept: pytest.MonkeyPatch, strength: float
) -> None:
    dense, right = wired(128, strength), normal(3, 1, 129, 2)
    found, sweeps = solved(layered(dense, [128, 1]), right)
    assert sweeps is not None
    assert sweeps.rate < 0.1
    expected = torch.from_numpy(np.linalg.solve(dense, right[0].numpy()))
    assert (found[0] - expected).abs().max() < 10 * ACCURACY * expected.abs().max()


def test_what_sweeps_do_not_solve_is_eliminated(swept: pytest.MonkeyPatch) -> None:
    # Too few neurons for their coupling to be taken as it becomes.
    dense, right = wired(16, 5.0), normal(3, 1, 17, 2)
    found, sweeps = solved(layered(dense, [16, 1]), right)
    assert sweeps is None
    expected = torch.from_numpy(np.linalg.solve(dense, right[0].numpy()))
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=1e-10)
    swept.setattr(factor, "_SHRUNK", 1e9)
    with pytest.raises(ConvergenceError, match="after 40 sweeps"):
        solved(layered(dense, [16, 1]), right)


def test_what_hangs_together_in_tiles_is_kept_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_DENSE", 0)
    rng = np.random.default_rng(1)
    dense = np.zeros((9, 9))
    for tile in ([0, 3], [1, 2], [4, 5, 6]):
        dense[np.ix_(tile, tile)] = rng.normal(size=(len(tile), len(tile)))
    dense[7:] = rng.normal(size=(2, 9))
    matrix = layered(dense, [7, 2])
    within = matrix.pairs[0, 0]  # what couples a cell to itself is none of it
    assert sorted(c.values.shape[1:] for c in within) == [(1, 3, 3), (4, 1, 1)]
    z = normal(2, 1, 9, 3)
    torch.testing.assert_close((matrix @ z)[0], torch.from_numpy(dense) @ z[0])
    twice = matrix.plus(layered(np.triu(dense), [7, 2]), 2.0)
    torch.testing.assert_close(twice.dense()[0], torch.from_numpy(dense + 2 * np.triu(dense)))
