"""The Yin-Yang set: its figure, and the very samples that were published."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from analogdfc.datasets import load_dataset, yin_yang
from analogdfc.datasets._yinyang import DOT, RADIUS, part_of
from analogdfc.errors import UserError

DIGEST = "54096e56b0699296087bb25cf2f14c97a2ff468c38dae4a10263b3bf452915d9"
PUBLISHED = [0.68030754, 0.45049925, 0.31969246, 0.54950075]
"""The first sample to learn from of the authors' files, as these print it."""


def inside(x: float, y: float) -> bool:
    return math.hypot(x - RADIUS, y - RADIUS) < RADIUS - 1e-9


@given(x=st.floats(0, 1), y=st.floats(0, 1))
def test_half_a_turn_makes_yin_yang_and_leaves_the_dots(x: float, y: float) -> None:
    assume(inside(x, y))
    # Not on an edge, which belongs to one of the two.
    edges = [math.hypot(x - at * RADIUS, y - RADIUS) for at in (0.5, 1.5)]
    assume(min(abs(d - r) for d in edges for r in (DOT, RADIUS / 2)) > 1e-9)
    assume(abs(y - RADIUS) > 1e-9)
    assert part_of(1 - x, 1 - y) == {0: 1, 1: 0, 2: 2}[part_of(x, y)]


def test_the_parts_have_the_areas_of_the_figure() -> None:
    at = (np.arange(400) + 0.5) / 400
    parts = [part_of(x, y) for x in at for y in at if inside(x, y)]
    share = np.bincount(parts) / len(parts)
    dots = 2 * DOT**2 / RADIUS**2
    np.testing.assert_allclose(share, [(1 - dots) / 2, (1 - dots) / 2, dots], atol=5e-4)


def test_a_point_outside_the_figure_is_in_none_of_its_parts() -> None:
    with pytest.raises(UserError, match=r"\(0.01, 0.01\) is outside the figure"):
        part_of(0.01, 0.01)


def test_the_samples_are_those_that_were_published() -> None:
    found = load_dataset("yin-yang")
    assert found.validation is not None
    np.testing.assert_allclose(found.x[0].numpy(), PUBLISHED, atol=5e-9)
    assert found.y[:5].argmax(dim=1).tolist() == [2, 1, 2, 1, 1]
    assert found.y_test[:5].argmax(dim=1).tolist() == [2, 2, 1, 1, 1]
    # All of them, compared with the authors' files to the last bit when this was written.
    parts = (found.x, found.validation.x, found.x_test)
    assert [len(part) for part in parts] == [5000, 1000, 1000]
    text = b"".join(np.round(part.numpy(), 9).tobytes() for part in parts)
    assert hashlib.sha256(text).hexdigest() == DIGEST


def test_a_fifth_input_stands_for_a_bias() -> None:
    four, five = yin_yang(), yin_yang(bias=True, dtype=torch.float32)
    assert torch.equal(five.x, torch.cat([four.x, torch.ones(5000, 1)], dim=1).float())
    assert torch.equal(five.y, four.y.float())
    assert bool((four.x[:, :2] + four.x[:, 2:] == 1).all())


def test_the_set_needs_a_type_with_fractions() -> None:
    with pytest.raises(UserError, match="floating type"):
        yin_yang(dtype=torch.int64)
