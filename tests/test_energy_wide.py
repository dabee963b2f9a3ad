"""The motion of many channels against the exponential of its matrix."""

from __future__ import annotations

import pytest
import torch
from strategies import network_of, normal

from analogdfc.analysis.energy import _path
from analogdfc.analysis.energy._wide import WideMotion
from analogdfc.cards import Card
from analogdfc.circuit import Chip, Design
from analogdfc.circuit.static import StaticChip
from analogdfc.controller import PI, PID, Controller
from analogdfc.feedback import DirectFeedback


@pytest.mark.parametrize("controller", [PI(), PID(k_d=0.05, tau_d=0.05)])
def test_channels_move_as_their_whole_matrix_says(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of((3, 4, 3), seed=1)
    card = Card.load("discrete_100mhz")
    feedback = DirectFeedback.transposed(network)
    design = Design.of(network, feedback, card, controller=controller)
    static = StaticChip.of(Chip.of(design, 1))
    state = static.solve(normal(2, 2, 3), 0.1 * normal(3, 2, 3))
    way = []
    for most in (500, 0):
        monkeypatch.setattr(_path, "_DENSE", most)
        way.append(_path.path(static, state, 5e-5))
    assert float((way[0].control - way[0].control[-1]).abs().max()) > 1e-3
    torch.testing.assert_close(way[1].control, way[0].control, rtol=1e-6, atol=1e-8)
    for name, volts in way[0].volts.items():
        torch.testing.assert_close(way[1].volts[name], volts, rtol=1e-6, atol=1e-7)


def test_channels_that_rest_stay_where_they_are() -> None:
    own = torch.tensor([[-1.0, 0.5], [1.0, -2.0]], dtype=torch.float64).expand(1, 3, 2, 2)
    driven = torch.full((1, 3, 2), -0.1, dtype=torch.float64)
    motion = WideMotion(own, driven, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), [4.0])
    start = torch.stack([torch.zeros(9), torch.arange(9.0)]).double()
    t = torch.tensor([1e-3, 0.1, 3.0], dtype=torch.float64)
    found = motion.at(t, start)
    assert not found[:, 0].any()
    slope = (found[0, 1] - start[1]) / t[0]
    torch.testing.assert_close(slope, motion.times(start)[1], rtol=0.02, atol=0.02)
