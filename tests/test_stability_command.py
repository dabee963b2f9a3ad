"""The control loop's margins and modes as a designer asks for them, and the command that says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.analysis.loop_gain import LoopGain
from analogdfc.analysis.stability import slowest_mode
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.cli import cli
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.spice.netlist import Netlist
from analogdfc.stability import SampleLoop, Stability, bode_figure, stability_of
from analogdfc.stability.found import MOST_CHANNELS
from benchmarks._measure import case

SMALL = ("stability", "--sizes", "2-2-1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_modes_are_eigenvalues_of_the_behavioural_model() -> None:
    here = case((3, 4, 2), 0, 1)
    chip = Chip.of(here.design, 1)
    found = stability_of(chip, here.x, here.step, per_decade=10)
    exact = Behavioural([chip]).modes(here.x, here.step)[0]
    for loop, values in zip(found.loops, exact, strict=True):
        assert loop.unstable == 0
        assert len(loop.modes)
        for mode in loop.modes * here.design.seconds:
            assert np.abs(values - mode).min() < 1e-5 * abs(mode)


def test_an_unstable_loop_shows_the_mode_that_grows() -> None:
    here = case((3, 4, 2), 0, 1, controller=PI(k_p=30.0)).at_bandwidth(3)
    found = stability_of(Chip.of(here.design, 1), here.x, here.step, per_decade=10)
    (loop,) = found.loops
    assert loop.unstable > 0
    fastest = slowest_mode(here.design, 1, here.x, here.step)
    assert loop.modes.real.max() * here.design.seconds == pytest.approx(fastest, rel=1e-5)


def test_the_worst_sample_has_the_least_phase_margin_or_a_mode_that_grows() -> None:
    hertz = np.geomspace(0.01, 10, 61)
    s = 2j * np.pi * hertz

    def loop(gain: float, unstable: int = 0) -> SampleLoop:
        values = np.asarray(gain / (s * (1 + s)), dtype=np.complex128)
        return SampleLoop(LoopGain(hertz, values[:, None, None]), np.array([-1 + 0j]), unstable)

    chip = Chip.of(case((1, 1), 0, 1).design)
    assert Stability(chip, (loop(1), loop(4), loop(2))).worst == 1
    assert Stability(chip, (loop(1), loop(4), loop(2, 1))).worst == 2


def test_a_netlist_needs_a_simulator_and_outputs_have_a_bound() -> None:
    here = case((1, 1), 0, 1)
    chip = Chip.of(here.design)
    with pytest.raises(UserError, match="both or none"):
        stability_of(chip, here.x, here.step, netlist=Netlist.of(chip, "ideal"))
    wide = case((1, MOST_CHANNELS + 1), 0, 1)
    with pytest.raises(UserError, match="97 outputs"):
        stability_of(Chip.of(wide.design), wide.x, wide.step)


def test_the_figure_says_what_its_axes_are() -> None:
    here = case((3, 4, 2), 0, 1)
    found = stability_of(Chip.of(here.design), here.x, here.step, per_decade=10)
    figure = bode_figure(here.design, found)
    bottom = [axes.get_xlabel() for axes in figure.axes[2:]]
    assert bottom == ["frequency (Hz)"] * 2
    gain = figure.axes[0].get_lines()
    margins = found.loops[0].gain.margins
    assert len(gain) == 3  # two loci and 0 dB
    crossings = [
        np.interp(0, -np.asarray(line.get_ydata()), np.asarray(line.get_xdata()))
        for line in gain[:2]
    ]
    assert min(abs(c / margins.phase_at - 1) for c in crossings) < 0.02


def test_what_is_printed_is_what_the_record_has() -> None:
    result = run(*SMALL, "--json", "-o", "s.h5")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["sample"]
    assert len(numbers) == 1
    record = records.read("s.h5")
    for k, sample in enumerate(numbers):
        margins = sample["equations"]["all_channels"]
        read = record.number(f"results/sample/{k}/equations/all_channels/phase_margin_degree")
        assert read == margins["phase_margin_degree"]
        hertz = record.array(f"curves/{k}/equations/frequency", units="Hz")
        gain = record.array(f"curves/{k}/equations/channels", units="1", real=False)
        crossing = np.interp(0, -np.log(np.abs(gain[:, 0])), hertz)
        assert crossing == pytest.approx(margins["gain_crossover_Hz"], rel=0.01)
    assert Path("s.png").stat().st_size > 10_000
    assert unlabelled(Path("s.h5")) == []


def test_the_netlist_is_laid_beside_the_equations() -> None:
    result = run(*SMALL, "--ac", "--engine", "batch", "--jobs", "1", "-o", "s.h5")
    assert result.exit_code == 0, result.output
    record = records.read("s.h5")
    place = "results/sample/0"
    phase, gain = (
        [record.number(f"{place}/{side}/all_channels/{name}") for side in ("equations", "circuit")]
        for name in ("phase_margin_degree", "gain_margin")
    )
    assert phase[1] == pytest.approx(phase[0], abs=0.01)
    assert gain[1] == pytest.approx(gain[0], rel=0.01)
    assert record.text(f"{place}/circuit/made_by").startswith("ngspice")
    assert f"{phase[0]:.2f}" in result.stdout
    assert "netlist: ngspice" in result.stdout


@pytest.mark.parametrize("option", ["--fidelity=ideal", "--engine=batch", "--pdk=generic"])
def test_options_of_the_netlist_need_it(option: str) -> None:
    result = run(*SMALL, option)
    assert result.exit_code == 2
    assert f"{option.partition('=')[0]}: without --ac no netlist is analysed" in result.output
