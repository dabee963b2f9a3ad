"""What tests of the behavioural model share: a card, designs, inputs, and distances of runs."""

from __future__ import annotations

import torch
from strategies import normal
from torch import Tensor

from analogdfc.cards import Card
from analogdfc.circuit import Design, Readout
from analogdfc.controller import PI
from analogdfc.dynamics import Update
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz").replace(
    "tanh", peak_current=2.1e-6, scale=0.26, input_resistance=1e3, current_mismatch=0.02
)
IDEAL = CARD.ideal()


def design_of(
    network: Network,
    card: Card = IDEAL,
    pi: PI | None = None,
    readout: Readout | None = None,
) -> Design:
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, controller=pi, readout=readout)


def inputs_of(network: Network, batch: int = 1, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Inputs, and steps of the target by 0.15 up or down."""
    step = 0.15 * normal(seed + 1, batch, network.sizes[-1]).sign()
    return normal(seed, batch, network.sizes[0]), step


def update_error(one: Update, other: Update) -> float:
    """Relative Frobenius error, over all samples."""
    ours, theirs = (torch.cat([t.flatten() for t in (*u.weights, *u.biases)]) for u in (one, other))
    return float((ours - theirs).norm() / theirs.norm())


def nrmse(one: Tensor, other: Tensor, origin: float | None = None) -> float:
    """Root mean square error over that of the excursion from the first state, or from `origin`."""
    start = other[:, :1] if origin is None else origin
    return float(((one - other) ** 2).mean().sqrt() / ((other - start) ** 2).mean().sqrt())
