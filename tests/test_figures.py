"""What figures say of themselves."""

from __future__ import annotations

import torch

from analogdfc.cards import Card
from analogdfc.circuit.design import Design
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.plots import comparison_figure
from analogdfc.study import Study


def test_a_comparison_names_its_network_card_and_sample_and_its_grid_lies_below(
    network: Network,
) -> None:
    card = Card.load("discrete_100mhz")
    design = Design.of(network, DirectFeedback.transposed(network), card)
    x, step = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    step[1] = 0.1
    run = Study(design, x, step).ideal()
    figure = comparison_figure(design, {"ideal": run, "again": run})
    title = figure.get_suptitle()
    assert "network 3-4-2; sample 2 of 2, the two largest traces" in title
    assert card.card.name in title
    assert all(axes.get_axisbelow() is True for axes in figure.axes)
