"""Section of a technology card about the auto-zero of neurons' amplifiers and tanh cells."""

from __future__ import annotations

from analogdfc.cards.entries import Farad, Kelvin, Second, Section, SquareMetre
from analogdfc.cards.update_sections import Charge, Share


class Zeroing(Section):
    """Section [auto_zero]: every amplifier and tanh cell of a neuron takes off its own offset.

    Before each sample comes a phase in which their inputs are at ground; a capacitor for each of
    them then keeps the offset, in series with the input. The controller has an auto-zero of its
    own. Without the section offsets are as [amplifier] and [tanh] have them.

    Attributes:
        capacitor: that keeps the offset, one for each; makes the auto-zero.
        time: of the phase before each sample.
        residual: share of an offset that is left; none by default.
        injection: charge that the opening switch takes off the capacitor, after what a dummy
            switch cancels; none by default.
        spread: relative standard deviation of that charge; none by default.
        temperature: gives every stored value the noise kT / C, drawn once for a chip here and not
            anew in each phase; none by default.
        clock: capacitance of the gates of the switches of one, which a phase charges from one
            supply to the other; unknown by default, as the next one.
        area: of those switches.
    """

    capacitor: Farad | None = None
    time: Second | None = None
    residual: Share | None = None
    injection: Charge | None = None
    spread: Share | None = None
    temperature: Kelvin | None = None
    clock: Farad | None = None
    area: SquareMetre | None = None

    @property
    def volts(self) -> float:
        """Offset that the mean charge of a switch leaves, in volts; 0 without an auto-zero."""
        if self.capacitor is None or self.injection is None:
            return 0.0
        return self.injection / self.capacitor


ZERO_IMPERFECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "auto-zero residual": (("auto_zero", "residual"),),
    "auto-zero injection": (("auto_zero", "injection"),),
    "auto-zero noise kT/C": (("auto_zero", "temperature"),),
}
"""Imperfections of the auto-zero. What it leaves of the offsets goes with those, too."""

ZERO_NONE_AT_0 = frozenset(("auto_zero", k) for k in ("residual", "injection", "temperature")) | {
    ("auto_zero", "spread")
}
"""Keys whose 0 is what leaving them out is."""
