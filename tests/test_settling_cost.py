"""What it costs to predict how a loop settles, for many outputs too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import network_of, normal

from analogdfc.analysis.settling import (
    LoopTransfer,
    OperatingPoint,
    Spectrum,
    limits,
    transfer,
)
from analogdfc.analysis.settling.limits import Loops, bandwidth_ratio
from analogdfc.analysis.settling.rational import Interpolant
from analogdfc.analysis.settling.zeros import nearest, null_vectors
from analogdfc.cards import Card
from analogdfc.circuit import Chip, Design
from analogdfc.circuit.static import StaticChip
from analogdfc.feedback import DirectFeedback


def loops_of(*sizes: int) -> Loops:
    network = network_of(sizes, seed=1)
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
    chip = Chip.of(design, 1)
    x, step = normal(2, 1, sizes[0]), 0.1 * normal(3, 1, sizes[-1])
    state = StaticChip.of(chip).solve(x, step, reached=False)
    return Loops(chip, OperatingPoint.of(state), x.numpy())


@pytest.fixture(scope="module")
def loops() -> Loops:
    return loops_of(3, 4, 8)


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frequencies at which a loop gain is asked for from now on, call by call."""
    counts: list[int] = []
    ours = LoopTransfer.loop_gain_where_found

    def counted(self: LoopTransfer, s: Any) -> Any:
        counts.append(len(s))
        return ours(self, s)

    monkeypatch.setattr(LoopTransfer, "loop_gain_where_found", counted)
    return counts


def test_the_critical_bandwidth_costs_little_more_than_a_look_at_each_bandwidth(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = looked_at(monkeypatch)
    ratio = bandwidth_ratio(loops, 0)
    assert ratio is not None
    assert 1 < ratio < np.inf
    spectra = 1 + np.log(ratio) / np.log(10 ** (1 / 8)) + 7  # the scan, then halving to 0.5 %
    assert sum(counts) < 110 * spectra, sum(counts) / spectra


def test_each_frequency_is_decomposed_once(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    ours = np.linalg.eigvals

    def counted(a: Any) -> Any:
        sizes.append(len(a))
        return ours(a)

    monkeypatch.setattr(np.linalg, "eigvals", counted)
    spectrum = loops.at_bandwidth(4e6).spectrum(0)
    assert len(sizes) > 1, "no point was put between others, so nothing could be done twice"
    spectrum.margins()
    assert sum(sizes) == len(spectrum.s)


def test_the_critical_bandwidth_is_that_of_precise_loop_gains(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bandwidth_ratio(loops, 0)
    monkeypatch.setattr(
        limits.Loops, "oscillates", lambda self, k: self.spectrum(k).unstable > 0, raising=True
    )
    assert bandwidth_ratio(loops, 0) == found


def test_a_wide_loop_is_swept_in_parts_of_bounded_memory(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = LoopTransfer(loops.chip, loops.point.sample(0))
    s = np.asarray(1e5 * (0.01 + 1j * np.geomspace(0.1, 1e3, 9)), dtype=np.complex128)
    whole = loop.loop_gain(s)
    counts = looked_at(monkeypatch)
    monkeypatch.setattr(transfer, "_MOST", 8 * 8 * loops.chip.circuit.amplifiers)
    parts = loop.loop_gain(s)
    np.testing.assert_allclose(parts, whole, rtol=1e-7)
    assert max(counts[1:]) <= 2


def test_the_loop_itself_is_asked_only_along_its_modes(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    spectrum = loops.spectrum(0)
    assert spectrum.unstable == 0
    counts = looked_at(monkeypatch)
    values = spectrum.modes().values
    assert len(values) > 1
    # It is asked along the modes' own vectors, not in all channels.
    assert sum(counts) == 0
    gain = spectrum.loop.loop_gain(values)[0]
    least = np.linalg.svd(np.eye(gain.shape[-1]) + gain, compute_uv=False)[:, -1]
    assert least.max() < 1e-8


def test_an_interpolant_is_the_rational_matrix_or_none() -> None:
    source = np.random.default_rng(0)
    poles, residues = -np.geomspace(1, 1e3, 6), source.standard_normal((6, 20, 20))

    def matrix(s: Any) -> Any:
        return np.tensordot(1 / (s[:, None] - poles), residues, axes=1)

    s = 0.01 + 1j * np.concatenate([[0.0], np.geomspace(0.1, 1e4, 40)])
    found = Interpolant.fit(s, matrix(s), tolerance=1e-8)
    assert found is not None
    other = np.array([-0.3 + 0.5j, -4.0 + 20.0j, 3.0 + 0.0j])
    np.testing.assert_allclose(found.at(other), matrix(other), rtol=1e-6, atol=1e-8)
    noise = source.standard_normal((len(s), 20, 20))
    assert Interpolant.fit(s, matrix(s) + 1e-3 * noise, tolerance=1e-8) is None


def test_the_nearest_zero_of_many_channels_is_that_of_all_of_them() -> None:
    source = np.random.default_rng(1)
    value, slope = source.standard_normal((2, 30, 30)) + 1j * source.standard_normal((2, 30, 30))
    alone = value - 0.99 * np.linalg.eigvals(np.linalg.solve(slope, value)).min() * slope
    for matrix in (value, alone):
        points = np.array([1.0 + 2.0j])
        every = points[0] - np.linalg.eigvals(np.linalg.solve(slope, matrix))
        expected = every[np.abs(every - points[0]).argmin()]
        found = nearest(points, matrix[None], slope[None])
        np.testing.assert_allclose(found, [expected], rtol=1e-8)
    assert np.isnan(nearest(points, np.full((1, 30, 30), np.nan), slope[None])).all()


def test_vectors_of_a_nearly_singular_matrix_are_those_of_its_least_singular_value() -> None:
    source = np.random.default_rng(2)
    a = source.standard_normal((3, 6, 6)) + 1j * source.standard_normal((3, 6, 6))
    left, sizes, right = np.linalg.svd(a)
    for least in (1e-9, 0.0):
        sizes[:, -1] = least
        singular = left @ (sizes[..., None] * right)
        w, v = null_vectors(singular)
        for matrix, x, y in zip(singular, w, v, strict=True):
            assert np.linalg.norm(matrix @ y) < 1e-8
            assert np.linalg.norm(x @ matrix) < 1e-8
            assert np.linalg.norm(x) == pytest.approx(np.linalg.norm(y)) == pytest.approx(1)


def test_what_the_loop_does_not_confirm_is_sought_in_the_loop(loops: Loops) -> None:
    exact, spectrum = loops.spectrum(0), loops.spectrum(0)
    assert isinstance(spectrum, Spectrum)
    seeker = spectrum._seeker
    assert seeker._line is not None
    wrong = seeker._line.values.copy()
    wrong[:, 0, 0] *= 1.001
    seeker._line = seeker._line._replace(values=wrong)
    starts = exact.modes().values
    found = seeker._newton(starts, seeker._interpolated)
    assert 1e-5 < np.abs(np.sort(found) / np.sort(starts) - 1).max() < 0.01
    np.testing.assert_allclose(np.sort(seeker.exact(starts)), np.sort(starts), rtol=1e-8)
