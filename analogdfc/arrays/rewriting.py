"""Devices that are programmed anew where their targets change."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from analogdfc.devices import Programmed

__all__ = ["changed", "rewritten"]

_ROUNDING = 1e-9
"""Fraction of the window below which two targets are the same."""


def changed(devices: Programmed, target: Tensor) -> Tensor:
    """Which devices are to hold something else than what was last asked for.

    Args:
        devices: as they are.
        target: conductances that they shall have, in siemens, of their shape.
    """
    return (target - devices.target).abs() > _ROUNDING * devices.model.window.span


def rewritten(
    old: Programmed, target: Tensor, generator: torch.Generator
) -> tuple[Programmed, Tensor, int]:
    """Devices programmed anew where their target changes: which, and in how many attempts.

    Args:
        old: as they are.
        target: conductances that they shall have, in siemens, of their shape.
        generator: source of the errors of a write.
    """
    target = old.model.window.quantise(target)
    hit = changed(old, target)
    new = old.model.program(target, generator, population=old.population)
    hidden = new.hidden
    if hidden is not None and old.hidden is not None:
        hidden = torch.where(hit, hidden, old.hidden)
    written = replace(
        old,
        target=torch.where(hit, target, old.target),
        g=torch.where(hit, new.g, old.g),
        hidden=hidden,
    )
    attempts = hit if new.attempts is None else torch.where(hit, new.attempts, 0)
    return written, hit, int(attempts.sum())
