"""Regression on what a random network, the teacher, answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

from analogdfc.datasets._base import Dataset, Samples, check_dtype
from analogdfc.errors import UserError

SIZES = (15, 1000, 1000, 1000, 1000, 5)
SAMPLES = (5000, 1000, 1000)


def student_teacher(
    sizes: Sequence[int] = SIZES,
    samples: Sequence[int] = SAMPLES,
    seed: int = 42,
    *,
    gain: float = 3.0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Draw inputs uniformly and label them by a random network with rectified hidden layers.

    The teacher's weights are normal with standard deviation gain * sqrt(2 / (n_in + n_out)), its
    biases zero, its output linear. The defaults are those of the toy experiment of Meulemans et
    al. 2021; its random numbers are not. The labels then have a standard deviation of about 8.

    Args:
        sizes: units of the teacher: inputs, each hidden layer, outputs.
        samples: number of samples to learn from, for validation and for testing.
        seed: seed of weights and inputs. On one machine the same seed gives the same numbers.
        gain: factor on the standard deviation of the weights.
        dtype: floating type; the draw is in float64 for all.

    Returns:
        Inputs (samples, sizes[0]) between -1 and 1, labels (samples, sizes[-1]), dimensionless.

    Raises:
        UserError: fewer than two sizes, a size below 1, no sample to learn from or to test, a
            seed out of range, or a gain that is not finite and above zero.
    """
    check_dtype(dtype)
    if len(sizes) < 2 or min(sizes) < 1:
        raise UserError(f"student-teacher: sizes = {list(sizes)}: give two or more, all above 0")
    if len(samples) != 3 or min(samples) < 0 or samples[0] == 0 or samples[2] == 0:
        raise UserError(
            f"student-teacher: samples = {list(samples)}: give three numbers, of samples to learn "
            "from (above 0), for validation (0 or more) and for testing (above 0)"
        )
    if not 0 <= seed < 2**63:
        raise UserError(f"student-teacher: seed = {seed} is not in 0 to 2^63 - 1")
    if not (math.isfinite(gain) and gain > 0):
        raise UserError(f"student-teacher: gain = {gain} is not finite and above 0")
    generator = torch.Generator().manual_seed(seed)
    weights = [
        gain
        * math.sqrt(2 / (n_in + n_out))
        * torch.randn(n_out, n_in, generator=generator, dtype=torch.float64)
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    x = torch.empty(sum(samples), sizes[0], dtype=torch.float64)
    x.uniform_(-1, 1, generator=generator)
    y = x
    for weight in weights[:-1]:
        y = torch.relu(y @ weight.T)
    y = y @ weights[-1].T
    ends = [samples[0], samples[0] + samples[1]]
    parts = zip(x.to(dtype).tensor_split(ends), y.to(dtype).tensor_split(ends), strict=True)
    learned, chosen_by, tested = (Samples(*part) for part in parts)
    return Dataset(*learned, *tested, chosen_by if samples[1] else None)
