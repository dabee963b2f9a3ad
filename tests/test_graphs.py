"""Repeated work is done as often as asked, on either device."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from elsewhere import DEVICES

from analogdfc.dynamics.graphs import repeat


def _add(total: torch.Tensor, one: torch.Tensor) -> None:
    total.add_(one)


@pytest.mark.parametrize("times", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("device", ["cpu", *DEVICES], indirect=True)
def test_work_is_done_as_often_as_asked(device: str, times: int) -> None:
    total, one = (torch.tensor(k, dtype=torch.float64, device=device) for k in (0.0, 1.0))
    repeat(partial(_add, total, one), times, total.device)
    assert float(total) == times
