"""Angles of a rule's updates to ideal ones, layer by layer, taken every so many training steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.learning import (
    LearningRule,
    backprop_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.learning.targets import target_updates
from analogdfc.measures import angle
from analogdfc.network import Network
from analogdfc.records import Quantity, Record

__all__ = ["REFERENCES", "AngleCurves", "AngleSettings", "Angles", "Reference"]

REFERENCES: dict[str, str] = {
    "BP": "negative gradient of the loss",
    "GN": "Gauss-Newton updates of the samples",
    "MN": "minimum-norm updates, R J^+ e",
    "MN-D": "those of the nonlinear rule, R D J^+ e",
    "GNT": "updates by Gauss-Newton targets",
}
"""The ideal updates and what they are; all but BP have a damping."""

_FORMS = "bp, mn:0.1, or gnt:1:0.01 with a damping for each hidden layer"
_ELEMENTS = 1 << 24
"""Numbers of the Jacobians of one part of a mini-batch; of several parts the mean is taken."""


@dataclass(frozen=True)
class Reference:
    """An ideal update.

    Attributes:
        name: key of `REFERENCES`.
        dampings: gamma, >= 0; of GNT one for each hidden layer, or one for all.

    Raises:
        UserError: an unknown name, or dampings that it hasn't.
    """

    name: str
    dampings: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if self.name not in REFERENCES:
            raise UserError(f"no ideal update {self.name!r}; there are {', '.join(REFERENCES)}")
        if not self.dampings or not all(math.isfinite(d) and d >= 0 for d in self.dampings):
            raise UserError(f"{self}: a damping is finite and >= 0")
        if self.name == "BP" and self.dampings != (0.0,):
            raise UserError(f"{self}: BP has no damping")
        if self.name != "GNT" and len(self.dampings) > 1:
            raise UserError(f"{self}: only GNT has a damping for each layer")

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that a text such as 'MN:0.1' says.

        Args:
            text: its name, and its dampings after colons; without any they are 0.

        Raises:
            UserError: it says none.
        """
        name, *dampings = text.strip().split(":")
        try:
            return cls(name.upper(), tuple(map(float, dampings)) or (0.0,))
        except ValueError as error:
            raise UserError(f"ideal update {text!r}: write {_FORMS}") from error

    def __str__(self) -> str:
        """The text that `parse` reads."""
        dampings = "" if self.dampings == (0.0,) else "".join(f":{d:g}" for d in self.dampings)
        return f"{self.name}{dampings}"


@dataclass(frozen=True, kw_only=True)
class AngleSettings:
    """Which angles are taken, and when.

    Attributes:
        references: the ideal updates.
        every: steps of forward learning from one measurement to the next, the first before the
            first step; >= 1.

    Raises:
        UserError: no reference, one twice, or fewer than one step.
    """

    references: tuple[Reference, ...]
    every: int = 100

    def __post_init__(self) -> None:
        texts = [str(reference) for reference in self.references]
        if not texts or len(set(texts)) < len(texts):
            raise UserError(f"angles to {', '.join(texts) or 'nothing'}: name each update once")
        if self.every < 1:
            raise UserError(f"angles every {self.every} steps: 1 or more are needed")

    @classmethod
    def parse(cls, text: str, every: int = 100) -> AngleSettings:
        """The settings that a text such as 'bp,mn:0.1' says.

        Args:
            text: references with commas between.
            every: as the attribute.

        Raises:
            UserError: it says none.
        """
        references = tuple(Reference.parse(word) for word in text.split(","))
        return cls(references=references, every=every)

    def about(self) -> dict[str, Any]:
        """Plain values, for the settings of a training."""
        return {"references": [str(r) for r in self.references], "every": self.every}


class Angles(NamedTuple):
    """Angles that were taken.

    Attributes:
        steps: steps of forward learning before each measurement.
        of: by the text of the reference, for each measurement the angle of every layer's weights
            in degrees; nan where either update is 0 or there is none.
    """

    steps: tuple[int, ...]
    of: Mapping[str, tuple[tuple[float, ...], ...]]

    def means(self, after: int = 0) -> dict[str, tuple[float, ...]]:
        """Mean angle of each layer, in degrees, by reference; nan where a layer has none.

        Without a measurement there are no layers.

        Args:
            after: steps of forward learning whose measurements are left out.
        """
        late = [step >= after for step in self.steps]
        found = {}
        for name, rows in self.of.items():
            kept = np.array([row for row, counts in zip(rows, late, strict=True) if counts])
            columns = [column[np.isfinite(column)] for column in kept.T] if len(kept) else []
            found[name] = tuple(float(c.mean()) if len(c) else math.nan for c in columns)
        return found


class AngleCurves:
    """Takes angles while a training goes on.

    Args:
        settings: which, and when.
        network: the network that learns.

    Attributes:
        settings: the same.
        count: steps of forward learning so far.

    Raises:
        UserError: dampings for another number of hidden layers.
    """

    def __init__(self, settings: AngleSettings, network: Network) -> None:
        hidden = network.depth - 1
        for reference in settings.references:
            if len(reference.dampings) not in (1, hidden):
                raise UserError(
                    f"angles to {reference}: {len(reference.dampings)} dampings for {hidden} "
                    "hidden layers"
                )
        self.settings, self.count = settings, 0
        self._depth = network.depth
        self._steps: list[int] = []
        self._rows: dict[str, list[tuple[float, ...]]] = {str(r): [] for r in settings.references}

    @property
    def found(self) -> Angles:
        """What was taken so far."""
        return Angles(tuple(self._steps), {name: tuple(rows) for name, rows in self._rows.items()})

    def see(self, rule: LearningRule, x: Tensor, y: Tensor) -> None:
        """Be told of a step, whose update is in `.grad`, and take the angles where it is time.

        Args:
            rule: the rule; it stays as it is.
            x: inputs of the mini-batch, (batch, n_0).
            y: its labels, (batch, n_L).

        Raises:
            ConvergenceError: activations or weights are not finite.
        """
        self.count += 1
        if (self.count - 1) % self.settings.every:
            return
        self._steps.append(self.count - 1)
        update = [None if w.grad is None else -w.grad for w in rule.network.weights]
        ideal = ideal_updates(rule, x, y, self.settings.references)
        for reference, layers in ideal.items():
            pairs = zip(layers, update, strict=True)
            self._rows[str(reference)].append(
                tuple(math.nan if a is None or b is None else angle(a, b) for a, b in pairs)
            )

    def tree(self) -> dict[str, Any]:
        """The curves as a branch of a record."""
        return angles_tree(self.found, self._depth)

    def take_up(self, record: Record, where: str, count: int) -> None:
        """Go on after what a record has.

        Args:
            record: the record.
            where: name of the branch.
            count: steps of forward learning that were made.

        Raises:
            UserError: the record lacks a curve.
        """
        found = read_angles(record, where, [str(r) for r in self.settings.references], self._depth)
        self._steps = list(found.steps)
        self._rows = {name: list(rows) for name, rows in found.of.items()}
        self.count = count


def ideal_updates(
    rule: LearningRule, x: Tensor, y: Tensor, references: Sequence[Reference]
) -> dict[Reference, list[Tensor | None]]:
    """Ideal updates of the weights of each layer, for the loss of a rule.

    Args:
        rule: the rule; it stays as it is.
        x: inputs, (batch, n_0).
        y: labels, (batch, n_L).
        references: which.

    Returns:
        Of each the changes of W_1..W_L, (n_i, n_{i-1}); None for a layer that it says nothing of.

    Raises:
        ConvergenceError: activations or weights are not finite.
    """
    network = rule.network
    sums: dict[Reference, list[Tensor]] = {}
    part = max(1, _ELEMENTS // (network.sizes[-1] * sum(network.sizes)))
    for inputs, labels in zip(torch.split(x, part), torch.split(y, part), strict=True):
        with torch.no_grad():
            error = rule.loss.error(network(inputs), labels)
        for reference, layers in _of_part(network, inputs, error, references).items():
            made = [w * (len(inputs) / len(x)) for w in layers]
            before = sums.get(reference)
            sums[reference] = made if before is None else [*map(torch.add, before, made)]
    return {r: [*found, *[None] * (network.depth - len(found))] for r, found in sums.items()}


def _of_part(
    network: Network, x: Tensor, error: Tensor, references: Sequence[Reference]
) -> dict[Reference, Sequence[Tensor]]:
    found: dict[Reference, Sequence[Tensor]] = {
        reference: _ideal(network, x, error, reference)
        for reference in references
        if reference.name != "GNT"
    }
    targets = [reference for reference in references if reference.name == "GNT"]
    if targets:  # the Jacobians of all dampings are decomposed once
        grid = sorted({d for reference in targets for d in reference.dampings})
        layers = target_updates(network, x, error, grid)
        for reference in targets:
            dampings = reference.dampings
            chosen = [grid.index(dampings[k % len(dampings)]) for k in range(len(layers))]
            found[reference] = [layer[k] for layer, k in zip(layers, chosen, strict=True)]
    return found


def _ideal(network: Network, x: Tensor, error: Tensor, reference: Reference) -> Sequence[Tensor]:
    (damping,) = reference.dampings
    if reference.name == "BP":
        return backprop_update(network, x, error).weights
    if reference.name == "GN":
        return gauss_newton_update(network, x, error, damping, biases=False).weights
    nonlinear = reference.name == "MN-D"
    return minimum_norm_update(network, x, error, damping, nonlinear=nonlinear).weights


def angles_tree(found: Angles, depth: int) -> dict[str, Any]:
    """Angles as a branch of a record.

    Args:
        found: the angles.
        depth: number of layers.
    """
    names = {"dims": ("measurement",)}
    tree: dict[str, Any] = {
        "step": Quantity(
            [*found.steps], "1", "steps of forward learning before the measurement", **names
        )
    }
    for reference, rows in found.of.items():
        what = f"of W{{}}'s update to the {REFERENCES[Reference.parse(reference).name]}"
        tree[reference] = {
            f"layer{i}_deg": Quantity([row[i - 1] for row in rows], "deg", what.format(i), **names)
            for i in range(1, depth + 1)
        }
    return tree


def read_angles(record: Record, where: str, references: Sequence[str], depth: int) -> Angles:
    """Angles from a branch of a record.

    Args:
        record: the record.
        where: name of the branch.
        references: texts of the references.
        depth: number of layers.

    Raises:
        UserError: the record lacks a curve, or has one of another length.
    """
    steps = tuple(int(k) for k in record.array(f"{where}/step", shape=(None,)))
    shape, layers = (len(steps),), range(1, depth + 1)
    of = {
        name: tuple(
            zip(
                *(
                    record.array(f"{where}/{name}/layer{i}_deg", shape=shape, finite=False).tolist()
                    for i in layers
                ),
                strict=True,
            )
        )
        for name in references
    }
    return Angles(steps, of)
