"""Random draws from a `torch.Generator`, and the checks that all device models share."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.errors import UserError


def normal(
    shape: Sequence[int],
    generator: torch.Generator,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal numbers.

    They are drawn in single precision, five times as fast as in double precision: the tails end at
    5.8 standard deviations.

    Args:
        shape: shape of the result.
        generator: source of the randomness; the draw is made on its device.
        dtype: type of the result.
        device: device of the result; by default the generator's.
    """
    drawn = torch.randn(
        tuple(shape), generator=generator, dtype=torch.float32, device=generator.device
    )
    return drawn.to(device=device or generator.device, dtype=dtype)


def uniform(
    shape: Sequence[int],
    generator: torch.Generator,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Numbers uniform in 0 <= u < 1; the arguments are those of `normal`."""
    drawn = torch.rand(
        tuple(shape), generator=generator, dtype=torch.float32, device=generator.device
    )
    return drawn.to(device=device or generator.device, dtype=dtype)


class Streams:
    """Independent generators by name, all from one draw of a generator.

    Each imperfection draws from a stream of its own, so that switching one off leaves the draws of
    all others as they were.

    Args:
        generator: it is advanced by one number, whatever the streams draw.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._device = generator.device
        drawn = torch.randint(2**62, (1,), generator=generator, device=generator.device)
        self._seed = int(drawn.item())

    def __getitem__(self, name: str) -> torch.Generator:
        # In the low bits: torch's generator on the CPU takes no more than 32 bits of a seed.
        seed = self._seed ^ zlib.crc32(name.encode())
        return torch.Generator(device=self._device).manual_seed(seed)


def require(generator: torch.Generator | None, what: str) -> torch.Generator:
    """The generator.

    Raises:
        UserError: there is none, and `what` needs one.
    """
    if generator is None:
        raise UserError(f"{what} draws random numbers; give a torch.Generator")
    return generator


def check_number(
    name: str,
    value: float,
    unit: str = "",
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> float:
    """The value.

    Raises:
        UserError: it isn't finite or not from `low` (itself not allowed if `open_low`) to `high`.
    """
    if math.isfinite(value) and low <= value <= high and not (open_low and value == low):
        return value
    raise UserError(f"{name} {value:g}{unit and ' ' + unit}: {_allowed(low, high, open_low, unit)}")


def check_tensor(
    name: str, value: Tensor, unit: str = "", *, low: float = -math.inf, high: float = math.inf
) -> Tensor:
    """The tensor.

    Raises:
        UserError: an element isn't finite or not from `low` to `high`; the message has its index.
    """
    good = torch.isfinite(value) & (value >= low) & (value <= high)
    if bool(good.all()):
        return value
    index = tuple(int(i) for i in (~good).nonzero()[0])
    found = value[index].item()
    place = f"[{', '.join(map(str, index))}]" if index else ""
    raise UserError(
        f"{name}{place} {found:g}{unit and ' ' + unit}: {_allowed(low, high, False, unit)}"
    )


def check_precision(name: str, kind: torch.dtype) -> None:
    """Make sure that a type of numbers holds a conductance, in siemens, to some digits.

    Raises:
        UserError: it doesn't: float16 ends at 6e-8, bfloat16 has 3 digits, an integer is 0.
    """
    if kind not in (torch.float32, torch.float64):
        shown = str(kind).removeprefix("torch.")
        raise UserError(
            f"{name}: of the type {shown}, which can't hold conductances in siemens; allowed are "
            "float32 and float64"
        )


def check_time(time: float | Tensor, name: str = "time") -> Tensor:
    """Times as a tensor, in seconds.

    Raises:
        UserError: a negative or non-finite time.
    """
    given = torch.as_tensor(time, dtype=torch.float64)
    return check_tensor(name, given, "s", low=0.0)


def _allowed(low: float, high: float, open_low: bool, unit: str) -> str:
    bounds = []
    if low > -math.inf:
        bounds.append(f"{'>' if open_low else '>='} {low:g}")
    if high < math.inf:
        bounds.append(f"<= {high:g}")
    limit = f" and {' and '.join(bounds)}" if bounds else ""
    return f"must be finite{limit}{(unit and bounds and ' ' + unit) or ''}"
