"""What all tests share: one thread, reproducible examples, the prototype's network."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from elsewhere import DEVICES, known, set_up
from fuzzing import PROFILE, is_long, summary, tally
from hypothesis import settings
from rich.table import Table
from strategies import network_of
from threadpoolctl import threadpool_limits
from whole import WIDTHS, lost

from analogdfc.cli import _console
from analogdfc.network import Network
from analogdfc.tables import laid_out

torch.set_num_threads(1)
threadpool_limits(1)  # NumPy's linear algebra, whatever OMP_NUM_THREADS says
known()

# The machines differ too much in speed for a deadline to say anything.
settings.register_profile("default", deadline=None, max_examples=40)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile(PROFILE, parent=settings.get_profile("default"))
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if is_long() and tally:
        terminalreporter.write_sep("=", "fuzzing")
        for line in summary():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def whole_tables() -> Iterator[None]:
    """Whatever table a command prints in a test would be whole on narrow terminals, too."""

    def watched(table: Table, width: int) -> Iterator[tuple[Table, int]]:
        for narrow in WIDTHS:
            assert lost(table, narrow) == [], f"a table on {narrow} columns"
        return laid_out(table, width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_console, "laid_out", watched)
        yield


@pytest.fixture
def network() -> Network:
    """The prototype's network, 3-4-2."""
    return network_of([3, 4, 2], seed=1)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each device beside the CPU, or those that a test names by its parameters."""
    set_up(request.param, monkeypatch)
    return str(request.param)
