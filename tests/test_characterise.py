"""Benches of cells, each against something that is known without it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.characterise import Conditions, Sheet, characterise, characterised
from analogdfc.characterise import opamp as opamp_bench
from analogdfc.characterise.bench import Bench
from analogdfc.characterise.small_signal import (
    gain_bandwidth,
    loaded_gain,
    margin,
    white_and_corner,
)
from analogdfc.characterise.spread import spread
from analogdfc.circuit.scaling import with_temperature
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.kits import SKY130, base, get_kit
from analogdfc.spice.engines import get_simulator

CARD = Card.load("generic")

ONE_POLE = """* A0 = 1e4, GBW = 20 MHz, 10 V/us, 1 kohm, 3 mV, 200 fF, noise of 10 kohm, 30 uA
.subckt opamp inp inn out vdd vss vos=0
Vos g inp {vos + 3m}
Rnoise g h 10k
Cin inn 0 200f
Bin 0 a I = 10u * tanh(V(h, inn) * 12.566370614)
Ca a 0 1p
Ra a 0 79.5774715meg noisy=0
Ea o 0 a 0 1
Ro o out 1k noisy=0
Iq vdd vss 30u
.ends opamp
"""
BOLTZMANN, KELVIN = 1.380649e-23, 300.15


def sheet_of(cell: str, text: str, tmp_path: Path) -> Sheet:
    file = tmp_path / "own.lib"
    file.write_text(text)
    own = {"tanh_cell" if cell == "tanh" else cell: file}
    return characterise(cell, Conditions(CARD, own=own), get_simulator("batch"))


# What is read of an analysis


def test_two_poles_are_found_again_in_their_response() -> None:
    f = np.logspace(-1, 10, 221)
    response = np.array([1e5 / (1 + 1j * each / 200) / (1 + 1j * each / 50e6) for each in f])
    assert gain_bandwidth(f, response) == pytest.approx(20e6, rel=1e-3)
    found = margin(f, response)
    # f^2 (1 + (f / 50 MHz)^2) = (20 MHz)^2
    unity = 50e6 * math.sqrt((math.sqrt(1 + 4 * (20 / 50) ** 2) - 1) / 2)
    assert found.frequency == pytest.approx(unity, rel=1e-3)
    assert found.degrees == pytest.approx(90 - math.degrees(math.atan(unity / 50e6)), abs=0.1)
    assert found.second_pole == pytest.approx(50e6, rel=5e-3)


def test_one_pole_lacks_no_second_one() -> None:
    f = np.logspace(-1, 10, 221)
    assert margin(f, np.array([1e5 / (1 + 1j * each / 200) for each in f])).second_pole is None


def test_what_has_no_gain_or_the_other_sign_is_no_amplifier() -> None:
    f = np.logspace(0, 3, 4)
    with pytest.raises(UserError, match=r"gain at 1 Hz is 2: .* inputs may be the wrong way round"):
        gain_bandwidth(f, np.full(4, 2 + 0j))
    with pytest.raises(UserError, match="gain at 1 Hz is -1e"):
        gain_bandwidth(f, np.full(4, -1e5 + 0j))
    with pytest.raises(UserError, match="must fall below 1 before"):
        margin(f, np.full(4, 1e5 + 0j))


def test_a_stage_and_a_series_resistance_are_told_apart() -> None:
    loads = np.array([0, 1e-5, 1 / 16e3])
    both = 1e4 / (1 + 1e5 * loads) / (1 + 1e3 * loads)
    found = loaded_gain(loads, both, 1e3)
    assert found == pytest.approx((1e4, 1e5, 1e3), rel=1e-9)
    series = loaded_gain(loads, 1e4 / (1 + 1e3 * loads), 1e3)
    assert series.stage is None
    assert series.series == 1e3
    assert loaded_gain(loads, np.full(3, 1e4), 0.0) == (1e4, None, None)


def test_white_noise_and_its_corner_are_those_of_the_density() -> None:
    f = np.logspace(2, 7, 51)
    assert white_and_corner(f, 12e-9 * np.sqrt(1 + 3e5 / f)) == pytest.approx((12e-9, 3e5))
    assert white_and_corner(f, np.full(51, 5e-9)) == pytest.approx((5e-9, 0), abs=1e-3)


def test_a_spread_is_within_its_stated_error() -> None:
    draws = np.random.default_rng(0).normal(0, 2e-3, (4000, 100))
    found = np.array([spread(row) for row in draws])
    assert found[:, 0].mean() == pytest.approx(2e-3, rel=0.01)
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.05)


# Op-amps


def test_an_amplifier_of_known_numbers_gives_them_back(tmp_path: Path) -> None:
    sheet = sheet_of("opamp", ONE_POLE, tmp_path)
    found = {name: number.value for name, number in sheet.numbers.items()}
    loaded = 1 + 1e3 / 100e3
    assert found["gain_no_load"] == pytest.approx(80, abs=0.01)
    assert found["gain_stated_load"] == pytest.approx(80 - 20 * math.log10(loaded), abs=0.01)
    assert found["gain_bandwidth"] == pytest.approx(20e6 / loaded, rel=0.01)
    assert found["output_resistance"] == pytest.approx(1e3, rel=0.02)
    assert found["stage_resistance"] is None
    # 1 kohm and the load's 1 pF are a pole at 160 MHz.
    assert found["second_pole"] == pytest.approx(1 / (2 * math.pi * 1e3 * 1e-12), rel=0.03)
    assert found["slew_rise"] == pytest.approx(10e6, rel=0.01)
    assert found["slew_fall"] == pytest.approx(10e6, rel=0.01)
    assert found["swing_high"] is None
    assert found["offset_systematic"] == pytest.approx(3e-3, rel=1e-3)
    assert "offset_sigma" not in found
    wanted = math.sqrt(4 * BOLTZMANN * KELVIN * 10e3)
    assert found["noise_white"] == pytest.approx(wanted, rel=0.01)
    assert found["noise_corner"] == pytest.approx(0, abs=1)
    assert found["supply_current"] == pytest.approx(30e-6, rel=1e-3)
    assert found["input_capacitance"] == pytest.approx(200e-15, rel=1e-3)
    assert found["settling"] == pytest.approx(7 * 2 / (2 * math.pi * 20e6), rel=0.3)


def test_the_macro_cell_of_a_card_gives_the_card_back(tmp_path: Path) -> None:
    sheet = characterise("opamp", Conditions(CARD), get_simulator("batch"))
    for name in (
        "gain", "stage_resistance", "gain_bandwidth", "second_pole", "slew_rate",
        "input_capacitance", "saturation", "quiescent_current",
    ):  # fmt: skip
        wanted = getattr(CARD.amplifier, name)
        assert sheet.entries[f"amplifier.{name}"] == pytest.approx(wanted, rel=0.01), name
    assert sheet.entries["amplifier.output_resistance"] is None


def test_drawn_offsets_spread_as_the_threshold_that_makes_them(tmp_path: Path) -> None:
    file = tmp_path / "own.lib"
    file.write_text(
        ".subckt opamp inp inn out vdd vss vos=0\nI1 vdd d 10u\nX1 d d 0 0 nfet_10u_1u\n"
        "E1 a 0 inp inn 1e6\nE2 out a d 0 1e6\n.ends opamp\n"
    )
    conditions = Conditions(CARD, get_kit("generic"), own={"opamp": file}, draws=400)
    bench = Bench("opamp", conditions, get_simulator("batch"))
    sigma, error = opamp_bench._mismatch(bench)
    wanted = 6e-9 / math.sqrt(10e-6 * 1e-6)
    assert sigma == pytest.approx(wanted, abs=3 * wanted / math.sqrt(800))
    assert sigma is not None
    assert error == pytest.approx(sigma / math.sqrt(798))
    other = Bench("opamp", conditions, get_simulator("batch"))
    assert opamp_bench._mismatch(other) == (sigma, error)


def test_an_amplifier_of_ideal_sources_leaves_the_supply_current_to_the_card(
    tmp_path: Path,
) -> None:
    sheet = sheet_of("opamp", ONE_POLE.replace("Iq vdd vss 30u\n", ""), tmp_path)
    assert sheet.numbers["supply_current"].value == pytest.approx(0, abs=1e-9)
    card = Card.parse(characterised(CARD, [sheet]))
    assert card.amplifier.quiescent_current == CARD.amplifier.quiescent_current


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (".subckt opamp inp inn out vdd vss vos=0\nE1 out 0 inp inn 1e5", "opamp has no .ends"),
        (
            ".subckt opamp inp inn out\nE1 out 0 inp inn 1e5\n.ends",
            r"own.lib, line 2: .subckt opamp needs the pins .*its pins are \['inp', 'inn', 'out'\]",
        ),
        (
            ".subckt opamp inp inn out vdd vss vos=0\nM1 out inp vss vss gone w=1u l=1u\n.ends",
            r"own.lib, line 3: 'M1 .*' names the model 'gone', which isn't there",
        ),
        (
            ".subckt opamp inp inn out vdd vss vos=0\nE1 out 0 inn inp 1e5\n.ends",
            "inputs may be the wrong way round",
        ),
        (
            ".subckt opamp inp inn out vdd vss vos=0\nX1 out inp vss vss nfet_1u_1u\n.ends",
            r"own.lib: cell 'nfet_1u_1u' isn't in the cell library",
        ),
        (
            ONE_POLE.replace("Ea o 0 a 0 1", "Ba o 0 V = 0.3 * tanh(V(a) / 0.3)"),
            r"supply of \+-1.65 V can't hold the swing: the output reaches -0\..* to 0\..* V",
        ),
    ],
)  # fmt: skip
def test_a_cell_that_is_no_amplifier_is_refused_in_a_line(
    cell: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        sheet_of("opamp", f"* own\n{cell}\n", tmp_path)


# Tanh cells, switches and holds

TANH = """* 3 uA, 0.3 V, 2 mV, 250 kohm, 5 uA
.subckt tanh_cell inp inn out vdd vss vos=0
Bout out vss I = 3u * tanh((V(inp, inn) + {vos} + 2m) * (1 + 4m * (temper - 27)) / 0.3)
Rinp inp 0 250k noisy=0
Iq vdd vss 5u
.ends tanh_cell
"""


def test_a_tanh_of_known_numbers_gives_them_back(tmp_path: Path) -> None:
    sheet = sheet_of("tanh", TANH, tmp_path)
    found = {name: number.value for name, number in sheet.numbers.items()}
    assert found["scale"] == pytest.approx(0.3, rel=1e-4)
    assert found["current"] == pytest.approx(3e-6, rel=1e-4)
    assert found["shape_error"] == pytest.approx(0, abs=0.01)
    assert found["offset_systematic"] == pytest.approx(2e-3, rel=1e-2)
    assert found["input_resistance"] == pytest.approx(250e3, rel=1e-4)
    assert found["scale_drift"] == pytest.approx(-4e-3, rel=0.01)
    assert found["current_drift"] == pytest.approx(0, abs=1e-6)
    assert sheet.entries["tanh.scale_drift"] == found["scale_drift"]
    assert sheet.entries["tanh.current_drift"] is None
    assert sheet.entries["tanh.reference"] == 300.15
    assert found["supply_current"] == pytest.approx(5e-6, rel=0.01)


def test_the_card_of_a_kit_spreads_as_the_cells_that_the_kit_draws() -> None:
    card = Card.load("generic")
    conditions = Conditions(card, get_kit("generic"), draws=60)
    found = characterise("tanh", conditions, get_simulator("batch")).entries
    once = characterise("tanh", replace(conditions, draws=0), get_simulator("batch")).entries
    assert found["tanh.offset"] == pytest.approx(card.tanh.offset, rel=0.3)  # 9 % of 60 draws
    assert found["tanh.current_mismatch"] == pytest.approx(card.tanh.current_mismatch, rel=0.3)
    assert not {"tanh.offset", "tanh.current_mismatch"} & set(once)


def test_the_card_of_one_temperature_tells_that_of_another() -> None:
    kit = get_kit("generic")
    conditions = Conditions(Card.load("generic"), kit, draws=0)
    usual, warm = (
        characterise("tanh", replace(conditions, celsius=celsius), get_simulator("batch")).entries
        for celsius in (27.0, 47.0)
    )
    card = Card.load("generic").replace(
        "tanh", **{name.removeprefix("tanh."): value for name, value in usual.items()}
    )
    told = with_temperature(card, 47.0)
    assert told.tanh_scale == pytest.approx(warm["tanh.scale"], rel=3e-3)
    assert told.tanh_current == pytest.approx(warm["tanh.peak_current"], rel=3e-3)
    assert told.tanh_scale > 1.03 * card.tanh_scale


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("-3u * tanh(V(inp, inn) / 0.3)", "inputs may be the wrong way round"),
        ("3u * V(inp, inn)", r"current doesn't level off within 0.75 V"),
        ("3u * sin(8 * V(inp, inn))", "is no tanh of its input: the closest one is off by"),
    ],
)
def test_a_cell_that_is_no_tanh_is_refused(law: str, message: str, tmp_path: Path) -> None:
    text = TANH.replace(
        "3u * tanh((V(inp, inn) + {vos} + 2m) * (1 + 4m * (temper - 27)) / 0.3)", law
    )
    with pytest.raises(UserError, match=message):
        sheet_of("tanh", text, tmp_path)


SWITCHED = """* 250 ohm, 1 Gohm, 20 fF from the gate
.subckt switch a b rst
S1 a b rst 0 own
Cgate rst b 20f
.ends switch
.model own sw(vt=0.5 vh=0 ron=250 roff=1e9)
"""
HELD = """* 1 pF, 1 Gohm, 5 fF from the gate, 2 fF from the input
.subckt hold in out rst
S1 in c rst 0 own
Chold c 0 1p
Cgate rst c 5f
Cover in c 2f
Eout out 0 c 0 1
.ends hold
.model own sw(vt=0.5 vh=0 ron=1 roff=1e9)
"""


def test_a_switch_injects_and_leaks_what_its_parts_do(tmp_path: Path) -> None:
    sheet = sheet_of("switch", SWITCHED, tmp_path)
    found = {name: number.value for name, number in sheet.numbers.items()}
    assert found["on_resistance"] == pytest.approx(250, rel=1e-3)
    assert found["on_resistance_largest"] == pytest.approx(250, rel=1e-3)
    # Half of its edge the switch is closed; the gate's charge on 10 pF and itself.
    assert found["injected_charge"] == pytest.approx(-10e-15, rel=0.02)
    assert found["leakage"] == pytest.approx(CARD.scale.control / 1e9, rel=0.02)
    assert sheet.entries["passive.r_switch"] == found["on_resistance"]


def test_a_hold_steps_and_droops_by_its_capacitor(tmp_path: Path) -> None:
    sheet = sheet_of("hold", HELD, tmp_path)
    found = {name: number.value for name, number in sheet.numbers.items()}
    held, total = CARD.scale.activation, 1.007e-12
    assert found["tracking_error"] == pytest.approx(0, abs=1e-5)
    assert found["held_step"] == pytest.approx(-2.5e-15 / total, rel=0.05)
    assert found["feedthrough"] == pytest.approx(2e-15 / total, rel=0.05)
    # Towards the input through 1 Gohm; in 20 us of a time constant of 1 ms.
    assert found["droop"] == pytest.approx(-2 * held / (1e9 * total), rel=0.03)


@pytest.mark.parametrize(
    ("cell", "text", "message"),
    [
        ("switch", SWITCHED.replace("ron=250", "ron=1e12"), "doesn't close while rst is 1 V"),
        ("hold", HELD.replace("Eout out 0 c 0 1", "Eout out 0 c 0 0.5"), "output is 0.125 V"),
    ],
)
def test_what_does_not_switch_is_refused(
    cell: str, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        sheet_of(cell, text, tmp_path)


def test_conditions_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"celsius = -300: a temperature above -273\.15"):
        Conditions(CARD, celsius=-300)
    with pytest.raises(UserError, match="resistances must be > 0"):
        Conditions(CARD, load=0)
    with pytest.raises(UserError, match="draws = 1: a spread needs at least 2"):
        Conditions(CARD, draws=1)


# The command


def test_the_command_writes_a_record_a_figure_and_a_card_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.lib").write_text(ONE_POLE)
    result = CliRunner().invoke(
        cli,
        [
            "characterise",
            "opamp",
            "--cell",
            "opamp=own.lib",
            "--card",
            "generic",
            "--json",
            "--engine",
            "batch",
        ],
    )
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)["sheets"]
    record = records.read("opamp.h5")
    gain = record["case0/numbers/gain_no_load/value"]
    assert isinstance(gain, records.Quantity)
    assert gain.units == "dB"
    assert float(gain.values) == told["numbers"]["gain_no_load"]["value"]
    assert Path("opamp.png").stat().st_size > 10_000
    card = Card.load("opamp.toml")
    assert card.amplifier.gain_bandwidth == pytest.approx(19.8e6, rel=0.01)
    assert card.amplifier.offset == CARD.amplifier.offset
    assert card.amplifier.saturation is None
    assert card.amplifier.noise_corner is None
    assert card.tanh == CARD.tanh
    assert "# opamp: macro cells, card Generic transistors" in card.text
    assert record.text("case0/card").rstrip() in "\n".join(
        line for line in Path("opamp.toml").read_text().splitlines() if "SHA-256" not in line
    )


def test_a_kit_that_is_not_installed_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANALOGDFC_CACHE", str(tmp_path))

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(base, "distribution", missing)
    result = CliRunner().invoke(cli, ["characterise", "opamp", "--pdk", "sky130"])
    assert result.exit_code == 2
    assert SKY130.command in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["opamp", "--corner", "ss"], "--corner: without --pdk there is no process that has it"),
        (["tanh", "--load", "50"], "--load: it is an op-amp's"),
        (["hold", "--pdk", "generic", "--draws", "9"], "--draws: nothing of a hold is drawn"),
        (["tanh", "--pdk", "generic", "--temperature", "500"], "hold from -55 to 175 degrees"),
    ],
)
def test_what_would_have_no_effect_or_no_meaning_is_refused(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["characterise", *options])
    assert result.exit_code == 2
    assert message in result.stderr
