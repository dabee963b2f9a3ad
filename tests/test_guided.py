"""What guided fuzzing begins with: files that its readers take, or refuse in one line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import guided
import pytest

from analogdfc.errors import UserError

TARGETS = guided.targets()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_of_guided_fuzzing_reads_what_it_begins_with(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    taken = 0
    for seed in target.seeds:
        (tmp_path / target.name).write_bytes(seed)
        guided.tried(target, tmp_path, seed)
        with suppress(UserError):
            target.read(tmp_path / target.name)
            taken += 1
    assert taken


def test_a_fault_ends_guided_fuzzing(tmp_path: Path) -> None:
    broken = guided.Target(lambda path: 1 / 0, "card.toml", [b""])
    with pytest.raises(ZeroDivisionError):
        guided.tried(broken, tmp_path, b"")
