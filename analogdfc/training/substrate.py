"""What a network is placed on before it learns, such as a chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from analogdfc.network import Network


class Placed(NamedTuple):
    """A network on its substrate.

    Attributes:
        network: the network that learns there, in place of the one that was placed.
        options: further arguments of its rule.
        update: puts something around the optimiser of its parameters, such as what writes the step
            into devices; None for nothing.
    """

    network: Network
    options: Mapping[str, Any]
    update: Callable[[torch.optim.Optimizer], torch.optim.Optimizer] | None = None


class Substrate(Protocol):
    """What a network is placed on before it learns."""

    def place(self, network: Network, seed: int) -> Placed:
        """The network on this substrate.

        Args:
            network: the network as it starts; it stays as it is.
            seed: of all that is drawn, >= 0.

        Raises:
            UserError: the substrate has no place for it.
        """

    def tree(self) -> dict[str, Any]:
        """What a record keeps of it."""

    def __str__(self) -> str:
        """What it is, for people, in a few words."""
