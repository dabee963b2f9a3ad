"""Power in crossbars of device pairs whose terminals are held at known voltages."""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.cards.technology import Wire
from analogdfc.wires import ArrayPower, Lines, dual_rail
from analogdfc.wires import array_power as power_of_array


def dual_rows(plus: Tensor, minus: Tensor) -> Tensor:
    """Voltages or currents of the rows from those of the two rails of each input."""
    return torch.stack([plus, minus], dim=-1).flatten(-2)


def array_power(
    plus: Tensor, minus: Tensor, wire: Wire, rows: Tensor, columns: Tensor
) -> ArrayPower:
    """Solve an array of device pairs for given voltages.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail.
        wire: the card's lines.
        rows: voltages of the row drivers, (states, k, 2 inputs), rails of an input side by side.
        columns: voltages at the column senses, (states, k, columns).

    Returns:
        The same states; of two also their mean, as a third.
    """
    g = torch.from_numpy(dual_rail(plus, minus))
    return power_of_array(g, Lines(wire.word or 0.0, wire.bit or 0.0), rows, columns)
