"""Where chips work: corner of the process, temperature and supply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from analogdfc.cards.technology import Card
from analogdfc.circuit.scaling import with_supply, with_temperature
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.kits import Corner
from analogdfc.spice.testbench import USUAL_CELSIUS
from analogdfc.study.study import Study

__all__ = ["Condition", "conditions"]


@dataclass(frozen=True)
class Condition:
    """Where chips work.

    All of it acts on transistors; in the models the temperature acts on the tanh cells of a card
    that has their drift, and the supply on the rails of the amplifiers. A corner, amplifiers and
    noise at another temperature, and a bias that follows the supply, are in the transistors only:
    a model knows them from a card that was characterised there.

    Attributes:
        corner: of the process.
        celsius: temperature, in degrees Celsius.
        supply: magnitude of either supply, in volts; None for the card's.
    """

    corner: Corner = "typical"
    celsius: float = USUAL_CELSIUS
    supply: float | None = None

    def __str__(self) -> str:
        """For people: 'ss, 60 C, 1.5 V'."""
        supply = "" if self.supply is None else f", {self.supply:g} V"
        return f"{self.corner}, {self.celsius:g} C{supply}"

    def placed(self, card: Card) -> Card:
        """What a card says under this condition.

        Args:
            card: the card.

        Raises:
            UserError: a supply or a temperature that the card can't have.
        """
        card = with_temperature(card, self.celsius)
        return card if self.supply is None else with_supply(card, self.supply)

    def check(self, study: Study) -> None:
        """Make sure that the nominal chip comes to rest within what the supply leaves.

        Args:
            study: a study whose card is that of this condition.

        Raises:
            UserError: an amplifier would have to leave its rails.
        """
        if self.supply is None:
            return
        try:
            study.static(None)
        except ConvergenceError as error:
            raise UserError(f"supply = {self.supply:g} V can't hold the swing: {error}") from error

    def on(self, study: Study) -> Study:
        """A study under this condition.

        Args:
            study: the study.

        Raises:
            UserError: a supply that the card can't have, or that can't hold the swing.
        """
        found = study.on(self.placed(study.design.card))
        self.check(found)
        return found


def conditions(
    corners: Sequence[Corner] = ("typical",),
    celsius: Sequence[float] = (USUAL_CELSIUS,),
    supplies: Sequence[float | None] = (None,),
) -> tuple[Condition, ...]:
    """Every corner at every temperature with every supply.

    Args:
        corners: of the process, one or more.
        celsius: temperatures, in degrees Celsius, one or more.
        supplies: in volts, one or more; None for the card's.

    Raises:
        UserError: none of one of them, or one twice.
    """
    for what, given in (("corners", corners), ("celsius", celsius), ("supplies", supplies)):
        if not given or len(set(given)) < len(given):
            raise UserError(f"{what} = {list(given)}: one or more are needed, each once")
    return tuple(Condition(*each) for each in product(corners, celsius, supplies))
