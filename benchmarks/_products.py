"""The matrix products of the rules of Deep Feedback Control, and what they take by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from analogdfc.dynamics.at_rest import about_the_mean
from analogdfc.dynamics.averaging import CHUNK

MEAN_PASSES = 3
"""In single precision, of samples that are solved about their mean, as those of this benchmark."""

# Of a product by itself, in seconds: long enough for the clock.
_LEAST = 0.005
_REPEATS = 5


class Product(NamedTuple):
    """A product of an (m, k) and a (k, n) matrix.

    Attributes:
        m: rows.
        k: what is summed over.
        n: columns.
        dtype: precision.
        times: how often a minibatch has it.
    """

    m: int
    k: int
    n: int
    dtype: torch.dtype = torch.float64
    times: int = 1

    @property
    def flops(self) -> float:
        """Multiplications and additions, all together."""
        return 2.0 * self.m * self.k * self.n * self.times

    @property
    def bytes(self) -> float:
        """What is read and written once, all together."""
        numbers = self.m * self.k + self.k * self.n + self.m * self.n
        return float(self.dtype.itemsize * numbers * self.times)

    @property
    def seconds(self) -> float:
        """CPU time of all of them in a row, by BLAS alone, in this precision.

        The least over the ways in which it can be asked for: PyTorch's or NumPy's, each factor as
        it is or transposed in memory, and the transposed product, of which a narrow one takes half
        the time or double.
        """
        return min(_alone(*way, self.dtype) for way in self._ways()) * self.times

    def _ways(self) -> list[tuple[int, int, int, bool, bool]]:
        turns = [(a, b) for a in (False, True) for b in (False, True)]
        shapes = [(self.m, self.k, self.n), (self.n, self.k, self.m)]
        return [(*shape, *turn) for shape in shapes for turn in turns]


@cache
def _alone(m: int, k: int, n: int, turn_a: bool, turn_b: bool, dtype: torch.dtype) -> float:
    a = torch.rand(k, m, dtype=dtype).T if turn_a else torch.rand(m, k, dtype=dtype)
    b = torch.rand(n, k, dtype=dtype).T if turn_b else torch.rand(k, n, dtype=dtype)
    out = torch.empty(m, n, dtype=dtype)
    by_torch = partial(torch.mm, a, b, out=out)
    by_numpy = partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    return min(_quickest(by_torch), _quickest(by_numpy))


def _quickest(call: Callable[[], object]) -> float:
    """Least CPU time of a call among several, in seconds."""
    count, best = 1, float("inf")
    for _ in range(_REPEATS):
        while True:
            start = time.process_time()
            for _ in range(count):
                call()
            took = time.process_time() - start
            if took >= _LEAST:
                break
            count *= 2
        best = min(best, took / count)
    return best


def one_thread() -> None:
    """Let PyTorch, NumPy and SciPy use one thread."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def kernels() -> str:
    """Which kernels the linear algebra of this run takes, for a table's caption."""
    told = [f"{one['internal_api']} {one['version']}, {one['architecture']}"
            for one in threadpool_info()
            if one["user_api"] == "blas" and "architecture" in one]  # fmt: skip
    return f"kernels of NumPy's and SciPy's BLAS: {'; '.join(told) or 'not told'}"


def products(
    rule: str, sizes: Sequence[int], batch: int, *, steps: int = 1000, iterations: int = 0
) -> list[Product]:
    """The products of a minibatch.

    Args:
        rule: 'dfc', 'dfc-ss' or 'dfc-ssa'.
        sizes: neurons of layers 0 to L.
        batch: samples.
        steps: of the simulation of `dfc`.
        iterations: Newton steps of `dfc-ss`.
    """
    layers = list(pairwise(sizes))
    n_out, neurons = sizes[-1], sum(sizes[1:])
    forward = [Product(batch, a, n) for a, n in layers]
    outer = [Product(n, batch, a) for a, n in layers]
    upper, push = forward[1:], Product(batch, n_out, neurons)
    if rule == "dfc":
        # The output layer's feedback is the identity, with which nothing is multiplied.
        hidden = push._replace(n=neurons - n_out) if upper else push
        step = [p._replace(times=steps) for p in (*upper, hidden)]
        collected = [Product(n, CHUNK * batch, a, times=steps // CHUNK) for a, n in layers[1:]]
        return [*forward, *forward, *step, *collected, outer[0]]
    carried = [Product(batch * n_out, a, n, torch.float32) for a, n in layers[1:]]
    if rule == "dfc-ssa" and about_the_mean(sizes, batch):
        passed = [p._replace(dtype=torch.float32, times=MEAN_PASSES) for p in (*upper, push)]
        constant = [Product(n_out, a, n, torch.float32, 2) for a, n in layers[2:-1]]
        changes = Product(batch, sum(sizes[1:-1]), n_out**2, torch.float32)
        carried = [*passed, *constant, changes]
    # As many passes through the layers: one under the control signal, and one that corrects it.
    passes = iterations if rule == "dfc-ss" else 2
    rests = [p._replace(times=passes) for p in (*upper, push)]
    return [*forward, *carried, *rests, *outer]
