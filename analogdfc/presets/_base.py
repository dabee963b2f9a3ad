"""What all presets are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

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
