"""What simulators warn of, shown with the results."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from analogdfc.errors import SimulatorWarning


@contextmanager
def simulator_warnings() -> Iterator[list[str]]:
    """What simulators warn of within, to be shown with the results; other warnings go their way."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SimulatorWarning)
        yield found
    for one in caught:
        if issubclass(one.category, SimulatorWarning):
            found.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
