"""Programming a conductance: in one shot with its error, or by write and verify."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.devices.curves import Curve
from analogdfc.devices.draws import check_number, normal
from analogdfc.errors import UserError


class Written(NamedTuple):
    """What a write left behind; all tensors have the shape of the target.

    Attributes:
        g: conductances, in siemens.
        attempts: number of writes that each device took.
        accepted: whether the last of them was accepted.
    """

    g: Tensor
    attempts: Tensor
    accepted: Tensor


class Programming(ABC):
    """How a target becomes a conductance."""

    @abstractmethod
    def write(self, target: Tensor, generator: torch.Generator) -> Written:
        """Program devices.

        Args:
            target: target conductances, any shape, in siemens.
            generator: source of the errors.
        """

    @abstractmethod
    def sigma(self, target: Tensor) -> Tensor:
        """Standard deviation of one write, in siemens, of the shape of the target.

        Args:
            target: target conductances, any shape, in siemens.
        """


@dataclass(frozen=True)
class OneShot(Programming):
    """A normal error whose standard deviation depends on the target; no conductance below 0.

    A published error that is left after write and verify is a one-shot error too: the curve
    describes the result, however many pulses it took.

    Attributes:
        error: standard deviation as a function of the target, in siemens.
    """

    error: Curve

    def sigma(self, target: Tensor) -> Tensor:
        """Standard deviation of a write, in siemens."""
        return self.error(target).clamp(min=0)

    def write(self, target: Tensor, generator: torch.Generator) -> Written:
        """Program each device once; every result is accepted."""
        g = _attempt(target, self.sigma(target), generator)
        once = torch.ones(target.shape, dtype=torch.int64, device=target.device)
        return Written(g, once, once.bool())


@dataclass(frozen=True)
class WriteVerify(Programming):
    """Write again, with a new error, until the conductance is in the acceptance window.

    Attributes:
        error: standard deviation of one write as a function of the target, in siemens.
        acceptance: half width of the window as a fraction of the target.
        acceptance_floor: least half width of the window, in siemens.
        limit: largest number of writes; a device that fails them keeps the last.

    Raises:
        UserError: no acceptance window, a negative one, fewer than one write.
    """

    error: Curve
    acceptance: float = 0.0
    acceptance_floor: float = 0.0
    limit: int = 100

    def __post_init__(self) -> None:
        check_number("acceptance", self.acceptance, low=0.0, high=1.0)
        check_number("acceptance_floor", self.acceptance_floor, "S", low=0.0)
        if self.acceptance == 0 and self.acceptance_floor == 0:
            raise UserError("write and verify without an acceptance window; give one above 0")
        if self.limit < 1:
            raise UserError(f"{self.limit} attempts of write and verify; 1 or more are allowed")

    def sigma(self, target: Tensor) -> Tensor:
        """Standard deviation of one write, in siemens."""
        return self.error(target).clamp(min=0)

    def half_width(self, target: Tensor) -> Tensor:
        """Half width of the acceptance window, in siemens.

        Args:
            target: target conductances, any shape, in siemens.
        """
        return (self.acceptance * target).clamp(min=self.acceptance_floor)

    def write(self, target: Tensor, generator: torch.Generator) -> Written:
        """Program devices; only those outside of their window are written again."""
        wanted, sigma = target.flatten(), self.sigma(target).flatten()
        width = self.half_width(target).flatten()
        g = torch.empty_like(wanted)
        attempts = torch.zeros(wanted.shape, dtype=torch.int64, device=target.device)
        open_ = torch.arange(wanted.numel(), device=target.device)
        for _ in range(self.limit):
            tried = _attempt(wanted[open_], sigma[open_], generator)
            g[open_] = tried
            attempts[open_] += 1
            open_ = open_[(tried - wanted[open_]).abs() > width[open_]]
            if open_.numel() == 0:
                break
        accepted = (g - wanted).abs() <= width
        return Written(*(x.reshape(target.shape) for x in (g, attempts, accepted)))


def _attempt(target: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    noise = normal(target.shape, generator, dtype=target.dtype, device=target.device)
    return torch.addcmul(target, sigma, noise).clamp_(min=0)
