"""The small tasks of the papers on feedback alignment: XOR, a linear and a nonlinear teacher."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from analogdfc.datasets._base import Dataset, Samples, check_dtype
from analogdfc.errors import UserError

SAMPLES = (5000, 1000, 1000)


def xor(*, dtype: torch.dtype = torch.float64) -> Dataset:
    """Exclusive or of two inputs (Lillicrap et al. 2016, note 4).

    Args:
        dtype: floating type.

    Returns:
        The four inputs (4, 2) of zeros and ones with their labels (4, 1), to learn and to test.

    Raises:
        UserError: not a floating type.
    """
    check_dtype(dtype)
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=dtype)
    y = x.sum(dim=1, keepdim=True) % 2
    return Dataset(x, y, x.clone(), y.clone())


def linear_teacher(
    inputs: int = 30,
    outputs: int = 10,
    samples: Sequence[int] = SAMPLES,
    seed: int = 0,
    *,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Standard normal inputs x and labels T x (Lillicrap et al. 2016, note 11).

    The tasks of a 30-20-10 and of a 100-50-20 student are those of 30 inputs and 10 outputs and of
    100 inputs and 20 outputs.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        samples: number of samples to learn from, for validation and for testing.
        seed: seed of T and of the inputs. On one machine the same seed gives the same numbers.
        spread: largest size of an element of T, which are uniform (Podlaski and Machens 2020, 7.5).
        dtype: floating type; the draw is in float64 for all.

    Returns:
        Inputs (samples, inputs) and labels (samples, outputs), dimensionless.

    Raises:
        UserError: an argument out of range.
    """
    generator = _generator("linear-teacher", (inputs, outputs), seed)
    _check_spread("linear-teacher", spread)
    target = _uniform(outputs, inputs, spread, generator)
    return _draw("linear-teacher", lambda x: x @ target.T, inputs, samples, generator, dtype)


def nonlinear_teacher(
    sizes: Sequence[int] = (30, 20, 10, 10),
    samples: Sequence[int] = SAMPLES,
    seed: int = 0,
    *,
    gain: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Standard normal inputs and what a tanh network with a linear output makes of them.

    The task of Lillicrap et al. 2016, note 3. Weights and biases of the teacher are uniform, as
    there; their spread, which is not printed, is here sqrt(3 / n_in) times the gain.

    Args:
        sizes: units of the teacher: inputs, each hidden layer, outputs.
        samples: number of samples to learn from, for validation and for testing.
        seed: seed of weights and inputs. On one machine the same seed gives the same numbers.
        gain: factor on weights and biases. With 1, the potentials of the first layer have a
            standard deviation of about 1; more makes the teacher less linear.
        dtype: floating type; the draw is in float64 for all.

    Returns:
        Inputs (samples, sizes[0]) and labels (samples, sizes[-1]), dimensionless.

    Raises:
        UserError: an argument out of range.
    """
    generator = _generator("nonlinear-teacher", sizes, seed)
    _check_spread("nonlinear-teacher", gain)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        spread = gain * math.sqrt(3 / n_in)
        weight = _uniform(n_out, n_in, spread, generator)
        layers.append((weight, _uniform(1, n_out, spread, generator)))

    def answer(x: Tensor) -> Tensor:
        for weight, bias in layers[:-1]:
            x = torch.tanh(x @ weight.T + bias)
        return x @ layers[-1][0].T + layers[-1][1]

    return _draw("nonlinear-teacher", answer, sizes[0], samples, generator, dtype)


def _generator(name: str, sizes: Sequence[int], seed: int) -> torch.Generator:
    if len(sizes) < 2 or min(sizes) < 1:
        raise UserError(f"{name}: sizes = {list(sizes)}: give two or more, all above 0")
    if not 0 <= seed < 2**63:
        raise UserError(f"{name}: seed = {seed} is not in 0 to 2^63 - 1")
    return torch.Generator().manual_seed(seed)


def _check_spread(name: str, spread: float) -> None:
    if not (math.isfinite(spread) and spread > 0):
        raise UserError(f"{name}: a spread or gain of {spread} is not finite and above 0")


def _uniform(rows: int, columns: int, spread: float, generator: torch.Generator) -> Tensor:
    values = torch.empty(rows, columns, dtype=torch.float64)
    return values.uniform_(-spread, spread, generator=generator)


def _draw(
    name: str,
    answer: Callable[[Tensor], Tensor],
    inputs: int,
    samples: Sequence[int],
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Dataset:
    """Draw standard normal inputs, label them and split them."""
    check_dtype(dtype)
    if len(samples) != 3 or min(samples) < 0 or samples[0] == 0 or samples[2] == 0:
        raise UserError(
            f"{name}: samples = {list(samples)}: give three numbers, of samples to learn from "
            "(above 0), for validation (0 or more) and for testing (above 0)"
        )
    x = torch.randn(sum(samples), inputs, dtype=torch.float64, generator=generator)
    ends = [samples[0], samples[0] + samples[1]]
    parts = zip(x.to(dtype).tensor_split(ends), answer(x).to(dtype).tensor_split(ends), strict=True)
    learned, chosen_by, tested = (Samples(*part) for part in parts)
    return Dataset(*learned, *tested, chosen_by if samples[1] else None)
