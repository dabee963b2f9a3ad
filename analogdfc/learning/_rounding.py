"""Steps so small that what a rule compares with and without them is mostly rounding."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from analogdfc.errors import RoundingWarning

# Steps over the rounding of the activations; below it an update is off by about 1 % and more.
_LEAST = 500.0


class RoundingWatch:
    """Watches the steps of a rule that learns from the difference of two states of the network.

    Such a difference keeps as many digits as the step is larger than the rounding of what is
    compared: in float32 an output that is 1e-5 from its target keeps two.

    Args:
        what: what the steps are, for people, in the plural.
        remedy: what makes them larger, for people.

    Attributes:
        lost: batches so far whose steps were too small.
    """

    def __init__(self, what: str, remedy: str) -> None:
        self._what, self._remedy = what, remedy
        self._warned = False
        self.lost = 0

    def see(self, step: Tensor | float, output: Tensor) -> None:
        """Compare the largest step of a batch with the rounding; warns once.

        Args:
            step: steps of the batch, any shape; 0 are no steps.
            output: output r_L beside them, (batch, n_L); hidden activations are taken to be of the
                order of 1.
        """
        largest = step if isinstance(step, float) else float(_largest(step))
        unit = torch.finfo(output.dtype).eps * max(float(_largest(output)), 1.0)
        times = largest / unit
        # Numbers that aren't finite are diagnosed elsewhere.
        if not 0 < times < _LEAST:
            return
        self.lost += 1
        if self._warned:
            return
        self._warned = True
        name = str(output.dtype).removeprefix("torch.")
        message = (
            f"{self._what}, at most {largest:.2g} in a batch, are only {times:.2g} times "
            f"the rounding of {name}, so that updates lose their digits; {self._remedy}"
        )
        warnings.warn(RoundingWarning(message), stacklevel=4)

    def notes(self) -> list[str]:
        """What there was to see, for `LearningRule.notes`."""
        if not self.lost:
            return []
        return [
            f"{self._what} were so near to the rounding, in {self.lost} batches, that updates lost "
            f"their digits; {self._remedy}"
        ]


def larger(what: str) -> str:
    """What to do about steps that are too small."""
    return f"raise {what}, or compute in float64 if this isn't"


def _largest(numbers: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(numbers, ord=torch.inf)
    return found
