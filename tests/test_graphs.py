"""Repeated work is done as often as asked, on either device."""

from __future__ import annotations

from functools import partial

import elsewhere
import pytest
import torch
from elsewhere import DEVICE, DEVICES

from analogdfc.dynamics.graphs import repeat


def _add(total: torch.Tensor, one: torch.Tensor) -> None:
    total.add_(one)


@pytest.mark.parametrize("times", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("device", ["cpu", *DEVICES], indirect=True)
def test_work_is_done_as_often_as_asked(device: str, times: int) -> None:
    total, one = (torch.tensor(k, dtype=torch.float64, device=device) for k in (0.0, 1.0))
    repeat(partial(_add, total, one), times, total.device)
    assert float(total) == times


@pytest.mark.parametrize("device", [DEVICE], indirect=True)
def test_work_that_asks_for_numbers_is_not_captured(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "cuda", elsewhere.graphs())
    total = torch.tensor(0.0, dtype=torch.float64, device=device)

    def asking() -> None:
        total.add_(1.0)
        if float(total) > 2.0:
            total.mul_(2.0)

    with pytest.raises(RuntimeError, match="recorded"):
        repeat(asking, 5, torch.device("cuda"))


@pytest.mark.parametrize("times", [3, 7])
def test_a_replayed_graph_does_what_was_captured_and_capturing_nothing(
    times: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == DEVICE:
        monkeypatch.setattr(torch, "cuda", elsewhere.graphs())
    total, one = (torch.tensor(k, dtype=torch.float64, device=device) for k in (0.0, 1.0))
    repeat(partial(_add, total, one), times, torch.device("cuda"))
    assert float(total) == times
