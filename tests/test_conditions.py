"""Where chips work: corner, temperature, supply; and transistors that a kit draws."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from strategies import network_of

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_supply
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.kits import get_kit
from analogdfc.spice import testbench as benches
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.netlist import Netlist
from analogdfc.study import Condition, Study, conditions


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALOGDFC_CACHE", str(tmp_path / "cache"))


def study() -> Study:
    network = network_of([2, 2, 1])
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("generic"))
    x, step = torch.tensor([[0.4, -0.3]]), torch.tensor([[0.1]])
    return Study(design, x.double(), step.double(), steps=30)


def test_every_corner_is_tried_at_every_temperature_with_every_supply() -> None:
    found = conditions(("ss", "ff"), (0.0, 60.0), (1.5, None))
    assert len(set(found)) == 8
    assert [str(one) for one in found[:2]] == ["ss, 0 C, 1.5 V", "ss, 0 C"]
    for wrong in ((), ("ss", "ss")):
        with pytest.raises(UserError, match="one or more are needed, each once"):
            conditions(wrong)


def test_an_output_keeps_its_distance_from_the_rails() -> None:
    card = Card.load("generic")
    a = with_supply(card, 1.5).amplifier
    assert a.supply == 1.5
    assert a.saturation is not None
    assert card.amplifier.saturation is not None
    assert a.supply - a.saturation == pytest.approx(
        card.amplifier.supply - card.amplifier.saturation
    )
    with pytest.raises(UserError, match=r"supply = 0\.1 V: .* nothing is left"):
        with_supply(card, 0.1)


def test_a_supply_that_cannot_hold_the_swing_is_refused() -> None:
    here = study()
    assert Condition(supply=1.5).on(here).design.card.amplifier.supply == 1.5
    rest, a = here.static(None), here.design.card.amplifier
    # At rails this low hidden neurons feel them, too.
    needed = max(float(volts.abs().max()) for volts in rest.volts_rest.values())
    assert a.saturation is not None
    least = needed + a.supply - a.saturation
    for supply, holds in ((1.01 * least, True), (0.99 * least, False)):
        there = here.on(with_supply(here.design.card, supply))
        if holds:
            Condition(supply=supply).check(there)
            continue
        with pytest.raises(UserError, match=rf"supply = {supply:g} V can't hold the swing"):
            Condition(supply=supply).check(there)


def test_tanh_cells_of_the_models_follow_the_temperature_as_their_card_says() -> None:
    """The scale of a pair in weak inversion goes with the absolute temperature."""
    card = Card.load("generic").replace("tanh", scale_drift=1 / 300.15, current_drift=-1e-3)
    assert Condition().placed(card) == card
    warm = Condition(celsius=37.0).placed(card)
    assert warm.tanh_scale / card.tanh_scale == pytest.approx(310.15 / 300.15, rel=1e-3)
    assert warm.tanh_current / card.tanh_current == pytest.approx(0.99, rel=1e-4)
    cold = Condition(celsius=17.0).placed(warm)  # from 37 degrees, not from 27
    assert cold.tanh_scale / card.tanh_scale == pytest.approx(290.15 / 300.15, rel=1e-3)
    (usual,), (other,) = (study().on(one).behavioural([None]) for one in (card, warm))
    before, after = (run.free.r[-1] for run in (usual, other))
    assert (after - before).norm() > 1e-3 * before.norm()


def test_the_temperature_is_that_of_the_analysis() -> None:
    here = study()
    bench = benches.Testbench(
        Chip.of(here.design), here.x[0], here.step[0], duration=1.0, max_step=0.1
    )
    assert " temp=27 tnom=27" in bench.text()
    assert " temp=60 tnom=27" in replace(bench, celsius=60.0).text()
    with pytest.raises(UserError, match=r"celsius = -100: models of transistors hold from -55"):
        replace(bench, celsius=-100.0)


def seed_of(netlist: Netlist) -> str:
    (found,) = re.findall(r"^\.options seed=(\d+)$", netlist.circuit, re.MULTILINE)
    return str(found)


def test_transistors_that_the_kit_draws_come_from_the_seed_and_in_place_of_offsets() -> None:
    design, kit = study().design, get_kit("generic", mismatch=True)
    first, again, other = (
        Netlist.of(Chip.of(design, seed), "transistor", kit=kit) for seed in (0, 0, 1)
    )
    assert first.circuit == again.circuit
    assert seed_of(first) != seed_of(other)
    assert 0 < int(seed_of(first)) < 2**31
    assert "agauss" in first.cells
    assert set(re.findall(r" os_\w+=(\S+)", first.circuit)) == {"0.0"}
    assert not torch.equal(
        first.chip.circuit.crossbars[0].plus, Chip.of(design).circuit.crossbars[0].plus
    )
    usual = Netlist.of(Chip.of(design, 0), "transistor", kit=get_kit("generic"))
    assert ".options seed" not in usual.circuit
    assert len(set(re.findall(r" os_\w+=(\S+)", usual.circuit))) > 2


def test_what_cannot_be_drawn_is_refused() -> None:
    design, kit = study().design, get_kit("generic", mismatch=True)
    with pytest.raises(UserError, match="a nominal chip has no mismatch"):
        Netlist.of(Chip.of(design), "transistor", kit=kit)

    class Other(BatchProcess):
        draws = False
        program = "OTHER"

    with pytest.raises(UserError, match="OTHER can't draw it from a seed"):
        Circuit(Chip.of(design, 0), "transistor", Other(), kit=kit)


def test_ngspice_draws_the_same_transistors_again() -> None:
    def current(seed: int) -> float:
        lines = get_kit("generic", mismatch=True).text(["nfet_10u_1u"])
        deck = (
            f"* one transistor\n.options seed={seed}\n{lines}Vd d 0 1\nVg g 0 0.8\n"
            "X1 d g 0 0 nfet_10u_1u\n.tran 1n 10n\n.end\n"
        )
        return float(BatchProcess().run(deck, save=["i(vd)"]).signals["i(vd)"][0])

    first, again, other = map(current, (1, 1, 2))
    assert first == again
    assert 1e-4 < abs(other / first - 1) < 0.2


@pytest.mark.parametrize("command", ["compare", "netlist"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "60"], "--temperature: without --pdk there are no transistors"),
        (["--supply", "0.05"], "supply = 0.05 V"),
        (["--pdk", "generic", "--fidelity", "transistor", "--supply", "2"], "work from 1.4"),
    ],
)
def test_a_condition_that_has_no_effect_or_cannot_be_is_refused(
    command: str, options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [command, "--sizes", "2-1", *options, "-o", "o.h5"])
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_a_netlist_is_written_for_its_temperature_and_supply(tmp_path: Path) -> None:
    options = ["--fidelity", "transistor", "--pdk", "generic", "--temperature", "60"]
    arguments = ["netlist", "--sizes", "2-1", *options, "--supply", "1.5", "-o", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "testbench.cir").read_text()
    assert "temp=60" in text
    assert "Vdd vdd 0 1.5" in text
