"""Presets of one's own: a file that says what is other than in a published one."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from analogdfc.errors import UserError
from analogdfc.learning import RULES
from analogdfc.presets._base import Card, Preset, Table
from analogdfc.training import Experiment
from analogdfc.training.experiment import default_experiment
from analogdfc.tuning import with_settings

FAMILY = "settings by their names"
"""Of the cards of published presets that are written like those of one's own."""


class OwnExperiment(Table):
    """What is trained, where it isn't what the preset below, or the rule, has.

    Attributes:
        preset: a published preset, or another file, that this one begins from.
        rule: the rule that the settings are for; any where it isn't said.
        feedback: 'learned' or 'fixed'.
    """

    preset: str | None = None
    rule: str | None = None
    feedback: str | None = None
    dataset: str | None = None
    sizes: tuple[int, ...] | None = None
    activation: str | tuple[str, ...] | None = None
    output_activation: str | None = None
    loss: str | None = None
    autoencoder: bool | None = None
    standardised: bool | None = None
    between: tuple[float, float] | None = None
    samples: int | None = None


class OwnTables(Table):
    """All of the file.

    Attributes:
        set: settings by their names, as `tuning.with_settings` takes them.
        rules: those of a rule alone, by its name; where there are some, it is for no other rule.
    """

    card: Card
    experiment: OwnExperiment = OwnExperiment()
    set: dict[str, Any] = Field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class OwnPreset(Preset):
    """A preset from a file.

    Attributes:
        tables: what the file says.
        base: the preset that it begins from; None for none.
    """

    tables: OwnTables
    base: Preset | None

    @classmethod
    def read(cls, path: Path, load: Callable[[str], Preset]) -> OwnPreset:
        """The preset in a file.

        Args:
            path: the file.
            load: gives the preset that it begins from, by its name.

        Raises:
            UserError: no such file, or what isn't allowed in it; the message has the place.
        """
        try:
            return cls.of(str(path), tomllib.loads(path.read_text(encoding="utf-8")), load)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UserError(f"{path}: no preset: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{path}: [{'.'.join(map(str, first['loc']))}] {first['msg']}"
            ) from error

    @classmethod
    def of(cls, name: str, content: dict[str, Any], load: Callable[[str], Preset]) -> OwnPreset:
        """The preset of a file's content.

        Args:
            name: of the preset.
            content: of the file.
            load: see `read`.

        Raises:
            UserError: what isn't allowed in it.
            ValidationError: the same.
        """
        rules = content.get("rules", {})
        if not isinstance(rules, dict):
            raise UserError("[rules]: a table for each rule is needed, such as [rules.bp]")
        told = {
            "set": _flat(content.get("set", {})),
            "rules": {rule: _flat(settings) for rule, settings in rules.items()},
        }
        tables = OwnTables.model_validate({**content, **told})
        below = tables.experiment.preset
        return cls(name, tables, None if below is None else load(below))

    @property
    def card(self) -> Card:
        """See `Preset`."""
        return self.tables.card

    @property
    def rules(self) -> tuple[str, ...]:
        """Those that it has settings of, the rule that it is for, or all of what it begins from."""
        if self.tables.rules:
            return tuple(self.tables.rules)
        if self.tables.experiment.rule is not None:
            return (self.tables.experiment.rule,)
        return tuple(sorted(RULES)) if self.base is None else self.base.rules

    def experiment(self, rule: str, feedback: str | None = None) -> Experiment:
        """See `Preset.experiment`."""
        self._check(rule)
        said = self.tables.experiment
        feedback = feedback or said.feedback
        if self.base is not None:
            found = self.base.experiment(rule, feedback)
        else:
            found = default_experiment(
                rule, feedback=feedback, activation=said.activation or "tanh"
            )
        other = said.model_dump(exclude_none=True, exclude={"preset", "rule", "feedback"})
        try:
            own = {**self.tables.set, **self.tables.rules.get(rule, {})}
            return with_settings(replace(found, **other), own)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error


def _flat(tree: Any, before: str = "") -> dict[str, Any]:
    """Settings by their whole names, whether the file has them dotted or in tables."""
    if not isinstance(tree, dict):
        raise UserError("[set]: settings by their names are needed, such as controller.k_p = 2")
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inside = isinstance(value, dict)
        found |= _flat(value, f"{before}{name}.") if inside else {f"{before}{name}": value}
    return found
