"""Wire resistance of crossbars: accuracy, and speed beside badcrossbar 1.1.0, on one thread.

Accuracy is the largest relative error of an element of the transfer matrix, or of any node voltage,
against one sparse matrix of all nodes (SciPy's SuperLU, one input a row).

Speed is taken in CPU time, all in this run. badcrossbar is timed where it can be imported (`pip
install --no-deps badcrossbar==1.1.0 pathvalidate sigfig`), with its default results: the node
voltages and all currents. Without it, the times that the bars were set by are printed, marked as
quoted; with a recent SciPy it is faster than these.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.wires`; it takes about a minute.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse.linalg import splu
from threadpoolctl import threadpool_limits
from torch import Tensor

from analogdfc.wires import (
    Iterative,
    Lines,
    Tiling,
    WiredArray,
    terminal_admittance,
    transfer_matrix,
)
from analogdfc.wires.exact import Factorised
from analogdfc.wires.remembered import SOLUTIONS

QUOTED = {1: 0.5, 32: 3.5}
"""Seconds that the bars take badcrossbar to need, by inputs, for 128 x 128 cells at 1 ohm."""
SHAPES = ((8, 8), (64, 64), (40, 200), (200, 40), (256, 256))
RESISTANCES = (0.01, 1.0, 100.0)


def cells(seed: int, rows: int, columns: int) -> Tensor:
    """Conductances from 1 to 100 microsiemens, uniform in their logarithm."""
    exponents = np.random.default_rng(seed).uniform(-6, -4, (rows, columns))
    return torch.from_numpy(10**exponents)


def inputs(seed: int, *shape: int) -> Tensor:
    """Voltages from 0 to 1 V."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def nodal(g: Tensor, r: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Transfer matrix and node voltages, (rows, 2, rows, columns), from the sparse equations."""
    rows, columns = g.shape
    word = np.arange(rows * columns).reshape(rows, columns)
    bit = word + rows * columns
    wire = 1 / r
    edges = [
        (word, bit, g.numpy()),
        (word[:, :-1], word[:, 1:], np.full((rows, columns - 1), wire)),
        (bit[:-1], bit[1:], np.full((rows - 1, columns), wire)),
    ]
    a, b, value = (np.concatenate([np.ravel(e[k]) for e in edges]) for k in range(3))
    ends = np.r_[word[:, 0], bit[-1]]
    at = (np.r_[a, b, a, b, ends], np.r_[a, b, b, a, ends])
    values = np.r_[value, value, -value, -value, np.full(len(ends), wire)]
    matrix = sp.csc_matrix(sp.coo_array((values, at), shape=(2 * word.size, 2 * word.size)))
    right = np.zeros((2 * word.size, rows))
    right[word[:, 0], np.arange(rows)] = wire
    v = splu(matrix).solve(right).T.reshape(rows, 2, rows, columns)
    return wire * v[:, 1, -1].T, v


def accuracy(console: Console) -> None:
    """Errors against the sparse nodal equations."""
    table = Table(title="largest relative error against SciPy's sparse solution; bar 1e-10")
    for name in ("array", *(f"{r:g} ohm" for r in RESISTANCES), "node voltages, 1 ohm"):
        table.add_column(name, justify="right")
    for rows, columns in SHAPES:
        line, worst_node = [], 0.0
        for r in RESISTANCES:
            g, lines = cells(1, rows, columns), Lines(r_word=r, r_bit=r)
            expected, nodes = nodal(g, r)
            found = transfer_matrix(g, lines).numpy()
            line.append(f"{np.abs(found / expected - 1).max():.1e}")
            if r == 1 and rows * columns <= 64 * 64:
                v = torch.eye(rows, dtype=g.dtype)
                own = np.stack(list(WiredArray(g, lines).voltages(v)), 1)
                worst_node = float(np.abs(own / nodes - 1).max())
        table.add_row(f"{rows} x {columns}", *line, f"{worst_node:.1e}" if worst_node else "")
    console.print(table)


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """Least CPU time of a call, in seconds."""
    run()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def badcrossbar_seconds(g: Tensor, count: int) -> float | None:
    """CPU time of badcrossbar's solution for so many inputs at 1 ohm; None without badcrossbar."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its plots need cairo
            module: Any = importlib.import_module("badcrossbar")
    except ModuleNotFoundError:
        return None
    logging.disable(logging.INFO)
    v, r = inputs(2, g.shape[0], count).numpy(), (1 / g).numpy()
    return seconds(lambda: module.compute(v, r, r_i=1.0), 3)


def speed(console: Console) -> None:
    """Times of a 128 x 128 array."""
    g, lines = cells(3, 128, 128), Lines(r_word=1.0, r_bit=1.0)
    whole = seconds(lambda: transfer_matrix(g, lines), 10)
    table = Table(title="128 x 128, 1 ohm, float64, one thread, CPU time")
    for name in ("what", "ours", "badcrossbar 1.1.0", "ratio", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for count, bar in ((1, 2), (32, 10)):
        measured = badcrossbar_seconds(g, count)
        theirs = QUOTED[count] if measured is None else measured
        table.add_row(
            f"transfer matrix; theirs {count} input{'s' if count > 1 else ''}",
            f"{whole * 1e3:.1f} ms",
            f"{theirs * 1e3:.0f} ms" + (" (quoted)" if measured is None else ""),
            f"{theirs / whole:.1f}",
            f"{bar}",
        )
    array, v = WiredArray(g, lines), inputs(4, 64, 128)
    one = seconds(lambda: [array.read(v) for _ in range(100)], 5) / 100
    table.add_row("reads a second, batch 64", f"{64 / one:,.0f}", "", "", "100,000")
    nodes = seconds(lambda: array.voltages(v), 3)
    table.add_row("all node voltages, batch 64", f"{nodes * 1e3:.1f} ms", "", "", "")
    console.print(table)


def iteration(console: Console, size: int) -> None:
    """A large array, solved iteratively; and for scale by the exact solver."""
    g, v = cells(5, size, size), inputs(6, 1, size)
    table = Table(title=f"{size} x {size}, one input, iterative, tolerance 1e-8")
    for name in ("wires", "steps", "residual", "CPU time", "peak memory of the process", "bar"):
        table.add_column(name, justify="right")
    for r in RESISTANCES:
        start = time.process_time()
        found = WiredArray(g, Lines(r_word=r, r_bit=r), Iterative(tolerance=1e-8)).solution(v)
        taken = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        table.add_row(
            f"{r:g} ohm",
            f"{found.steps}",
            f"{float(found.residual.max()):.1e}",
            f"{taken:.2f} s",
            f"{peak:.2f} GiB",
            "1e-8, 30 s, 2 GB",
        )
    console.print(table)


def scaling(console: Console) -> None:
    """The exact transfer matrix of larger arrays."""
    table = Table(title="transfer matrix, exact, 1 ohm, CPU time")
    for name in ("array", "time", "over that of half the size"):
        table.add_column(name, justify="right")
    before = None
    for n in (64, 128, 256, 512):
        g = cells(7, n, n)
        taken = seconds(partial(transfer_matrix, g, Lines(r_word=1.0, r_bit=1.0)), 3)
        table.add_row(f"{n} x {n}", f"{taken:.3f} s", f"{taken / before:.1f}" if before else "")
        before = taken
    console.print(table)


def between_terminals(g: NDArray[np.float64], r: float) -> NDArray[np.float64]:
    """Admittance between drivers and senses, from one sparse matrix of all nodes."""
    rows, columns = g.shape
    terminals, cells_ = rows + columns, rows * columns
    word = terminals + np.arange(cells_).reshape(rows, columns)
    bit = word + cells_
    chains = np.c_[np.arange(rows), word], np.r_[bit, rows + np.arange(columns)[None]]
    edges = [
        (word, bit, g),
        (chains[0][:, :-1], chains[0][:, 1:], np.full(g.shape, 1 / r)),
        (chains[1][:-1], chains[1][1:], np.full(g.shape, 1 / r)),
    ]
    a, b, value = (np.concatenate([np.ravel(e[k]) for e in edges]) for k in range(3))
    at, values = (np.r_[a, b, a, b], np.r_[a, b, b, a]), np.r_[value, value, -value, -value]
    count = terminals + 2 * cells_
    matrix = sp.csc_array(sp.coo_array((values, at), shape=(count, count)))
    coupling = matrix[terminals:, :terminals].toarray()
    inside = splu(sp.csc_array(matrix[terminals:, terminals:])).solve(coupling)
    seen: NDArray[np.float64] = matrix[:terminals, :terminals].toarray() - coupling.T @ inside
    return seen


def terminals(console: Console) -> None:
    """Arrays as a circuit sees them, whole and cut into tiles."""
    table = Table(title="admittance between all terminals, 5 ohm, CPU time")
    for name in ("array", "sparse", "ours", "ratio", "largest error", "in tiles of 16 x 16"):
        table.add_column(name, justify="right")
    for rows, columns in ((8, 4), (34, 10), (130, 32), (258, 64)):
        g = cells(8, rows, columns).numpy()

        def ours(tiling: Tiling | None = None, g: NDArray[np.float64] = g) -> Any:
            SOLUTIONS.forget()
            return terminal_admittance(g, 5.0, 5.0, tiling)

        expected, found = between_terminals(g, 5.0)[rows:, :rows], ours()[rows:, :rows]
        theirs, own = seconds(partial(between_terminals, g, 5.0), 3), seconds(ours, 3)
        cut = seconds(partial(ours, Tiling(16, 16)), 3)
        table.add_row(
            f"{rows} x {columns}",
            f"{theirs * 1e3:.1f} ms",
            f"{own * 1e3:.1f} ms",
            f"{theirs / own:.1f}",
            f"{np.abs(found / expected - 1).max():.1e}",
            f"{cut * 1e3:.1f} ms",
        )
    console.print(table)


def single(console: Console) -> None:
    """What single precision, taken for large arrays, gains and costs."""
    rows, columns, r = 1026, 512, 5.0
    g = cells(8, rows, columns)
    lines = Lines(r_word=r, r_bit=r)

    def ours() -> NDArray[np.float64]:
        SOLUTIONS.forget()
        return terminal_admittance(g.numpy(), r, r)

    def double() -> Tensor:
        return Factorised(g, lines, keep=False, terminals=True).couplings()

    taken, own = seconds(ours, 1), seconds(double, 1)
    off = np.abs(ours()[rows:, :rows] / -double()[rows:, :rows].numpy() - 1)
    table = Table(title=f"admittance of {rows} x {columns}, {r:g} ohm, single precision, CPU time")
    for name in ("single", "double", "largest error", "rms error", "bar"):
        table.add_column(name, justify="right")
    errors = f"{off.max():.1e}", f"{np.sqrt((off**2).mean()):.1e}"
    table.add_row(f"{taken:.2f} s", f"{own:.2f} s", *errors, "1e-05")
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="of the iterative array")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    with threadpool_limits(1):
        iteration(console, chosen.size)  # first: the peak memory is that of the whole process
        speed(console)
        scaling(console)
        terminals(console)
        single(console)
        accuracy(console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
