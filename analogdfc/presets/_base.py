"""What all presets are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from analogdfc.errors import UserError
from analogdfc.training import Experiment


class Table(BaseModel):
    """A table of the file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Card(Table):
    """What the preset is and where it comes from."""

    title: str
    source: str
    family: str = "deep feedback control"


_Tables = TypeVar("_Tables", bound=Table)


def replaced(tables: _Tables, entries: Mapping[str, Any]) -> _Tables:
    """Tables with other entries.

    Args:
        tables: the tables.
        entries: see `Preset.with_entries`.

    Raises:
        UserError: values that the tables don't take, or a place that there isn't.
    """
    content = tables.model_dump(mode="json", by_alias=True, exclude_none=True)
    for place, value in entries.items():
        *path, last = place.split(".")
        node: Any = content
        for word in path:
            node = node[word]
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    try:
        return type(tables).model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"[{'.'.join(map(str, first['loc']))}] {first['msg']}") from error


@dataclass(frozen=True)
class Preset(ABC):
    """The published settings of one experiment.

    Attributes:
        name: its name.
    """

    name: str

    @property
    @abstractmethod
    def card(self) -> Card:
        """What it is and where it comes from."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.card.title

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.card.source

    @property
    @abstractmethod
    def rules(self) -> tuple[str, ...]:
        """The rules that it has settings for."""

    def with_entries(self, entries: Mapping[str, Any]) -> Preset:
        """The preset with other numbers in its tables, in the published conventions.

        Args:
            entries: by their places, such as 'learned.sleep.sigma'; of a list, by the number too.

        Raises:
            UserError: a preset without published tables, or values that these don't take.
        """
        raise UserError(f"{self.name}: it has no published tables")

    @abstractmethod
    def experiment(self, rule: str, feedback: str | None = None) -> Experiment:
        """The settings for one rule, in this library's conventions.

        Args:
            rule: name of the rule.
            feedback: 'learned' or 'fixed', for rules of deep feedback control: where the feedback
                weights start.

        Raises:
            UserError: the preset has no settings for this rule or feedback.
        """

    def _check(self, rule: str) -> None:
        if rule not in self.rules:
            raise UserError(
                f"preset {self.name!r} has no published settings for the rule {rule!r}; it has "
                f"those of {', '.join(self.rules)}"
            )
