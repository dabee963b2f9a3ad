"""What figures say of themselves."""

from __future__ import annotations

import torch

from analogdfc.cards import Card
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.cost.figures import _spots
from analogdfc.drawing import headed, new_figure
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.plots import about, comparison_figure
from analogdfc.study import Study


def test_a_comparison_names_its_network_card_and_sample_and_its_grid_lies_below(
    network: Network,
) -> None:
    card = Card.load("discrete_100mhz")
    design = Design.of(network, DirectFeedback.transposed(network), card)
    x, step = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    step[1] = 0.1
    run = Study(design, x, step).ideal()
    figure = comparison_figure(design, {"ideal": run, "again": run}, (5, 7))
    title = figure.get_suptitle()
    shown = "sample 2 of 2, the two largest traces"
    assert title.startswith(f"network 3-4-2, seed 5, chip seed 7; {shown}")
    assert card.card.name in title
    assert all(axes.get_axisbelow() is True for axes in figure.axes)


def test_a_heading_says_what_was_drawn_and_is_broken_where_the_figure_ends(
    network: Network,
) -> None:
    card = Card.load("discrete_100mhz")
    devices = Devices.of("pcm_nandakumar2019", 3600.0)
    design = Design.of(network, DirectFeedback.transposed(network), card, devices=devices)
    assert about(design, (1, None)) == [
        "network 3-4-2, seed 1, nominal chip", card.card.name, str(devices)
    ]  # fmt: skip
    assert about(design)[0] == "network 3-4-2"
    figure = new_figure(6, 3)
    figure.subplots()
    headed(figure, "a name of $5 and " + 10 * "more and ", "", 100 * "e")
    figure.canvas.draw()
    drawn = figure.texts[0].get_window_extent()
    assert drawn.x0 >= 0
    assert drawn.x1 <= figure.bbox.x1
    assert "$5" in figure.get_suptitle().replace("\\", "")


def test_texts_beside_points_cover_neither_each_other_nor_points_and_stay_within() -> None:
    figure = new_figure(5, 4)
    axes = figure.subplots()
    # Two points at one place, and one in each corner.
    x, y = [0.5, 0.5, 0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 0.0, 1.0, 1.0, 0.0]
    axes.plot(x, y)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    spots = _spots(axes, x, y, ["100 MHz"] * 6)
    assert spots[0] != spots[1]
    assert spots[2:] == [(1, 1), (-1, -1), (1, -1), (-1, 1)]
    # Where nobody has said what the axes hold, too.
    other = new_figure(5, 4).subplots()
    other.plot([500.0, 900.0], [3.0, 4.0])
    texts = 2 * ["a text of forty letters, which is long.."]
    (right, _), (left, _) = _spots(other, [500.0, 900.0], [3.0, 4.0], texts)
    assert (right, left) == (1, -1)
