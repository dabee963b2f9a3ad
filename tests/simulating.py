"""What tests of simulators share: a deck, and a simulator that returns a prepared plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from analogdfc.spice.rawfile import RawPlot
from analogdfc.spice.simulator import Simulator

RC_STEP = """step into R = 1 kohm, C = 1 nF
.param resistance=1k
V1 in 0 PWL(0 0 1p 1)
X1 in out lowpass
.subckt lowpass a b
R1 a mid {resistance/2}
R2 mid b {resistance/2}
C1 b 0 1n
.ends
.options reltol=1e-6
.tran 10n 5u 0 5n
.end
"""


class Fake(Simulator):
    """Returns a prepared plot."""

    name = "fake"

    def __init__(self, *values: list[float]) -> None:
        self._plot = RawPlot("", "Transient Analysis", ("time", "v(out)"), np.array(values).T)

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        return 0, []

    def _read(self, folder: Path) -> list[RawPlot]:
        return [self._plot]
