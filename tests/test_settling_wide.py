"""Loops of many channels, looked at without their whole loop gain, against the whole of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from strategies import network_of, normal

from analogdfc.analysis.settling import LoopTransfer, OperatingPoint, Spectrum, limits
from analogdfc.analysis.settling.hull import edge
from analogdfc.analysis.settling.krylov import solve
from analogdfc.analysis.settling.limits import Loops
from analogdfc.analysis.settling.stages import single
from analogdfc.analysis.settling.sweep import Paths
from analogdfc.analysis.settling.transfer import SINGLE, Line
from analogdfc.analysis.settling.waveforms import Waveforms
from analogdfc.analysis.settling.wide import WideLoops, WideSpectrum
from analogdfc.cards import Card
from analogdfc.circuit import Chip, Design
from analogdfc.circuit.static import StaticChip
from analogdfc.feedback import DirectFeedback

LINE = np.asarray(1e5 * (1e-3 + 1j * np.geomspace(0.03, 3e4, 7)), dtype=np.complex128)


def loops_of(*sizes: int) -> Loops:
    network = network_of(sizes, seed=1)
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
    chip = Chip.of(design, 1)
    x, step = normal(2, 1, sizes[0]), 0.1 * normal(3, 1, sizes[-1])
    state = StaticChip.of(chip).solve(x, step, reached=False)
    return Loops(chip, OperatingPoint.of(state), x.numpy())


@pytest.fixture(scope="module")
def loops() -> Loops:
    return loops_of(3, 4, 12)


def transfer(loops: Loops) -> LoopTransfer:
    return LoopTransfer(loops.chip, loops.point)


def wide(loops: Loops) -> WideSpectrum:
    return WideLoops([transfer(loops)]).spectra()[0]


def test_responses_are_those_of_the_whole_loop_gain(loops: Loops) -> None:
    loop = transfer(loops)
    b = np.random.default_rng(0).standard_normal((len(LINE), loop.channels)).astype(complex)
    found = solve(Line([loop], LINE), np.arange(len(LINE)), b, np.zeros_like(b), 1e-9)
    whole = np.eye(loop.channels) + loop.loop_gain(LINE)[0]
    expected = np.linalg.solve(whole, b[..., None])[..., 0]
    assert np.abs(found - expected).max() < 1e-7 * np.abs(expected).max()


def test_products_at_some_frequencies_are_those_of_the_loop_gain(loops: Loops) -> None:
    loop = transfer(loops)
    where = np.array([5, 2, 2])
    cut = np.random.default_rng(0).standard_normal((3, loop.channels)).astype(complex)
    found = Line([loop], LINE).times(cut, where)
    expected = (loop.loop_gain(LINE[where])[0] @ cut[..., None])[..., 0]
    assert np.abs(found - expected).max() < 1e-7 * np.abs(expected).max()


def test_products_in_single_precision_are_as_exact_as_they_say(loops: Loops) -> None:
    line, every = Line([transfer(loops)], LINE), np.arange(len(LINE))
    cut = np.random.default_rng(0).standard_normal((len(LINE), 12)).astype(complex)
    found, expected = line.times(single(cut), every), line.times(cut, every)
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert found.dtype == np.complex64
    assert error.max() < SINGLE


def test_crossbars_solved_roughly_give_a_loop_gain_within_1e_4(loops: Loops) -> None:
    card = Card.load("discrete_100mhz")
    assert card.wire.word
    paths = Paths.of(loops.chip, rough=True)
    found = LoopTransfer(loops.chip, loops.point, paths).loop_gain(LINE)
    known = transfer(loops).loop_gain(LINE)
    assert 0 < np.abs(found - known).max() < 1e-4 * np.abs(known).max()


def test_a_settling_time_does_not_hang_on_the_points_it_is_sought_on(loops: Loops) -> None:
    spectrum = wide(loops)
    one, other = (
        Waveforms(spectrum, loops.point, loops.x[0], 0.02, rate=factor * spectrum.rate)
        for factor in (0.3, 0.37)
    )
    assert one.time_of_modes == pytest.approx(other.time_of_modes, rel=1e-6)
    assert one.update_time(0.02) == pytest.approx(other.update_time(0.02), rel=1e-6)


def test_a_wide_loop_settles_as_its_whole_loop_gain_says(loops: Loops) -> None:
    known, found = (
        Waveforms(each, loops.point, loops.x[0], 0.02, rate=0.3 * each.rate)
        for each in (Spectrum(transfer(loops)), wide(loops))
    )
    assert known.spectrum.unstable == found.spectrum.unstable == 0
    assert found.time_of_modes == pytest.approx(known.time_of_modes, rel=1e-5)
    assert found.update_time(0.02) == pytest.approx(known.update_time(0.02), rel=1e-5)


def test_margins_of_a_wide_loop_are_those_of_its_loci_or_a_little_less(loops: Loops) -> None:
    gain, phase = wide(loops).margins()
    most_gain, most_phase = Spectrum(transfer(loops)).margins()
    assert 0.95 * most_gain < gain < 1.001 * most_gain
    assert most_phase - math.radians(1) < phase < most_phase + 1e-3


def test_growing_modes_of_a_wide_loop_are_found() -> None:
    slow = loops_of(3, 4, 4).at_bandwidth(8e5)
    known, found = Spectrum(transfer(slow)).modes().values, wide(slow)
    assert found.unstable > 0
    assert WideLoops([transfer(slow)], rough=True).spectra()[0].unstable == found.unstable
    for value in found.modes().values:
        assert np.abs(known - value).min() < 1e-5 * abs(value)


def test_loops_of_many_channels_do_without_their_whole_loop_gain(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(*_: object) -> None:
        raise AssertionError("the whole loop gain was asked for")

    monkeypatch.setattr(LoopTransfer, "loop_gain_where_found", whole)
    monkeypatch.setattr(limits, "_WIDE", 11)
    assert loops.spectrum(0).unstable == 0
    monkeypatch.setattr(limits, "_WIDE", 12)
    with pytest.raises(AssertionError, match="was asked for"):
        loops.spectrum(0)


def test_the_edge_of_a_hull_is_where_it_comes_nearest_to_minus_1() -> None:
    corners = np.array([-0.5 + 0.5j, -0.5 - 0.5j, 0.5 + 0j])
    assert edge(corners) == (-0.5, math.pi)
    assert edge(np.append(corners, 0.1)) == (-0.5, math.pi), "what lies inside has no part"
    # The line from 0 to -1 - 1j leaves the unit circle at an angle of 45 degrees to -1.
    assert edge(np.array([0j, -1 - 1j]))[1] == pytest.approx(math.pi / 4)
    assert edge(np.array([-3 + 1j, -3 - 1j, 1 + 0j]))[0] == -1
    assert edge(np.array([-3 + 1j, -3 - 1j])) == (0, math.pi), "it lies beyond -1"
