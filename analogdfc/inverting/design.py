"""A network and the loops that invert its layers, placed on a technology."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn, get_args

import torch
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.cards.technology import Card
from analogdfc.circuit.description import check_activations, check_controller
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.controller import Controller, P
from analogdfc.dynamics.inversion import ChainedLoop, ControllerLoop, FastLoop, InversionLoop
from analogdfc.errors import UserError
from analogdfc.learning.inversion import (
    Dynamic,
    DynamicInversion,
    FastControl,
    RepeatedInversion,
    SingleLoopInversion,
)

__all__ = ["FORMS", "Form", "InversionDesign", "Link"]

Form = Literal["pairs", "repeat", "single"]
"""How inversions are chained: one layer pair after another, all at once with repeated layers, or
one loop through all layers (Podlaski and Machens 2020, figure 2)."""

FORMS: tuple[Form, ...] = get_args(Form)

_FORM_OF: dict[type[Dynamic], Form] = {
    DynamicInversion: "pairs",
    RepeatedInversion: "repeat",
    SingleLoopInversion: "single",
}

Control = Controller | FastControl


class Link(NamedTuple):
    """One controller with the layers that it inverts.

    Attributes:
        top: layer whose error is its target, 2..L.
        bottom: layer that it drives; those between answer from one to the next.
        control: how it controls.
    """

    top: int
    bottom: int
    control: Control

    @property
    def fast(self) -> bool:
        """Whether the layer itself integrates the error (eqs. S1 and S2)."""
        return isinstance(self.control, FastControl)

    @property
    def controller(self) -> Controller:
        """What makes u of the error: with fast control the error itself."""
        return P(k_p=1.0) if isinstance(self.control, FastControl) else self.control

    @property
    def name(self) -> str:
        """'layer 3', or 'layers 1 to 3' of the single loop."""
        return f"layer {self.top}" if self.top == self.bottom + 1 else f"layers 2 to {self.top}"


@dataclass(frozen=True)
class InversionDesign(Design):
    """A network and the loops that invert its layers, on a technology.

    Unlike that of Deep Feedback Control, its feedback leads from a layer to the one below:
    Q_2..Q_L, (n_{l-1}, n_l), or of the single loop one Q, (n_1, n_L). Time is in the loops' unit,
    in which errors have the time constant 1; it is `card.scale.time` seconds.

    Attributes:
        form: how the inversions are chained.
        controls: controls of layers 2..L, or the one of the single loop.

    Raises:
        UserError: no hidden layer, shapes that don't fit, numbers that aren't finite, a controller
            or an activation that has no circuit, or weights outside the window with `scaling` off.
    """

    form: Form = "pairs"
    controls: tuple[Control, ...] = ()

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise UserError("dynamic inversion inverts hidden layers, and the network has none")
        if self.form not in FORMS:
            raise UserError(f"form {self.form!r}: there are {', '.join(FORMS)}")
        check_activations(self.activations, self.depth)
        needed = len(self.feedback)
        if len(self.controls) != (1 if self.form == "single" else self.depth - 1):
            raise UserError(f"{len(self.controls)} controls; one a loop, {needed}, is needed")
        for link in self.links:
            check_controller(link.controller)
            expected = (self.sizes[link.bottom], self.sizes[link.top])
            q = self.q(link)
            if tuple(q.shape) != expected or not torch.isfinite(q).all():
                raise UserError(
                    f"Q{link.top} has shape {tuple(q.shape)}; finite numbers of shape {expected} "
                    "are needed"
                )
        self._check_window()

    @classmethod
    def placed(
        cls,
        rule: Dynamic,
        card: Card,
        *,
        readout: Readout | None = None,
        scaling: bool = True,
        devices: Devices | None = None,
    ) -> InversionDesign:
        """Place a learning rule with its network and its feedback on a technology.

        Args:
            rule: the rule, whose feedback is stable.
            card: the technology.
            readout: how the update is read; by default as `Readout()` does.
            scaling: see `Design`.
            devices: see `Design`.

        Raises:
            UserError: as the class.
        """

        def copies(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(t.detach().to("cpu", torch.float64).clone() for t in tensors)

        network, form = rule.network, _FORM_OF[type(rule)]
        controls = rule.controls[:1] if form == "single" else rule.controls
        first = controls[0] if controls else P(k_p=1.0)
        return cls(
            copies(list(network.weights)),
            copies(list(network.biases)),
            copies(list(rule.feedback.matrices)),
            P(k_p=1.0) if isinstance(first, FastControl) else first,
            1.0,
            card,
            readout or Readout(),
            scaling,
            tuple(phi.name for phi in network.activations),
            devices,
            form=form,
            controls=controls,
        )

    @property
    def links(self) -> tuple[Link, ...]:
        """The controllers with the layers that they invert, the output's first."""
        if self.form == "single":
            return (Link(self.depth, 1, self.controls[0]),)
        return tuple(Link(i, i - 1, self.controls[i - 2]) for i in range(self.depth, 1, -1))

    @property
    def circuits(self) -> tuple[tuple[Link, ...], ...]:
        """What runs at a time: each pair by itself, one after another, or all in one circuit."""
        return tuple((link,) for link in self.links) if self.form == "pairs" else (self.links,)

    def q(self, link: Link) -> Tensor:
        """Feedback weights of a controller, (n_bottom, n_top).

        Args:
            link: one of `links`.
        """
        return self.feedback[0 if self.form == "single" else link.top - 2]

    def inversion(self, links: Sequence[Link]) -> InversionLoop:
        """The ideal equations of one circuit.

        Args:
            links: the circuit's, the output's first.
        """
        loops = [self._ideal(link) for link in links]
        return loops[0] if len(loops) == 1 else ChainedLoop(tuple(loops))

    def _ideal(self, link: Link) -> ControllerLoop | FastLoop:
        weights = self.weights[link.bottom : link.top]
        names = self.activations[link.bottom - 1 : link.top - 1]
        activations = tuple(map(get_activation, names))
        if isinstance(link.control, FastControl):
            return FastLoop(weights[0], activations[0], self.q(link), link.control.alpha)
        return ControllerLoop(weights, activations, self.q(link), link.control)

    def loop(self) -> NoReturn:
        """There is none of Deep Feedback Control; see `inversion`.

        Raises:
            UserError: always.
        """
        raise UserError("this design inverts layers: it has no loop of Deep Feedback Control")

    def _largest_feedback(self, i: int) -> float:
        found = [self.q(link) for link in self.links if link.top == i]
        return max((float(q.abs().max()) for q in found), default=0.0)

    @property
    def sha256(self) -> str:
        """See `Design`."""
        more = f"{super().sha256} {self.form} {self.controls}"
        return hashlib.sha256(more.encode()).hexdigest()
