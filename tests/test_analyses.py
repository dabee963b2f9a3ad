"""Operating points, sweeps, small signals and noise of ngspice, against circuits solved by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from analogdfc.errors import UserError
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.shared import SharedLibrary
from analogdfc.spice.simulator import Simulator, Sweep

both = pytest.mark.parametrize("backend", [BatchProcess, SharedLibrary])

R, C = 1e4, 1e-9
BOLTZMANN, KELVIN = 1.380649e-23, 300.15

LOWPASS = """R = 10 kohm, C = 1 nF
V1 in 0 dc 0.5 ac 1
R1 in out 10k
C1 out 0 1n
R2 out 0 1e12
.options temp=27 tnom=27 gmin=1e-15
"""


def analysed(
    backend: type[Simulator],
    analysis: Literal["op", "dc", "ac", "noise"],
    line: str,
    *save: str,
) -> Sweep:
    return backend().analyse(f"{LOWPASS}{line}\n.end\n", analysis=analysis, save=save)


def test_an_operating_point_is_one_point() -> None:
    found = analysed(BatchProcess, "op", ".op", "out", "i(v1)")
    assert found.points.tolist() == [0.0]
    assert found.signals["out"] == pytest.approx([0.5], rel=1e-6)
    assert found.signals["i(v1)"] == pytest.approx([-0.5e-12], rel=1e-2)


def test_a_sweep_has_the_values_of_its_source() -> None:
    found = analysed(BatchProcess, "dc", ".dc v1 -1 1 0.5", "out")
    assert found.points == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert found.signals["out"] == pytest.approx(found.points, abs=1e-6)


@both
def test_small_signals_are_those_of_a_lowpass(backend: type[Simulator]) -> None:
    found = analysed(backend, "ac", ".ac dec 5 1 1e8", "v(out)")
    wanted = 1 / (1 + 2j * np.pi * found.points * R * C)
    assert len(found.points) == 41
    assert np.abs(found.signals["v(out)"] - wanted).max() < 1e-6


@both
def test_noise_of_a_resistor_is_that_of_nyquist(backend: type[Simulator]) -> None:
    found = analysed(backend, "noise", ".noise v(out) v1 dec 1 1 1e5", "inoise_spectrum")
    wanted = np.sqrt(4 * BOLTZMANN * KELVIN * R)
    assert found.signals["inoise_spectrum"] == pytest.approx(np.full(6, wanted), rel=1e-3)


def test_a_deck_with_another_analysis_than_asked_for_is_refused() -> None:
    with pytest.raises(UserError, match=r"line 7.*'\.tran 1u 2u' is refused"):
        analysed(BatchProcess, "ac", ".tran 1u 2u", "out")
    with pytest.raises(UserError, match=r"one line '\.ac' and no other"):
        analysed(BatchProcess, "ac", ".op", "out")
    with pytest.raises(UserError, match=r"one line '\.ac' and no other"):
        analysed(BatchProcess, "ac", ".ac dec 1 1 10\n.ac dec 1 1 10", "out")


def test_an_engine_without_such_analyses_says_which_it_has() -> None:
    class Other(BatchProcess):
        analyses = ()

    with pytest.raises(UserError, match="no analysis 'ac' here; there are: the transient one only"):
        analysed(Other, "ac", ".ac dec 1 1 10", "out")
