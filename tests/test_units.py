"""Numbers without a dimension: decibels, bits, angles and shares mean what they say, or nothing."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from analogdfc.cards import Card, DeviceCard
from analogdfc.cards.quantities import quantity
from analogdfc.cards.units import OFTEN, Kind, to_si, units
from analogdfc.cost.sweep import parse
from analogdfc.digital.card import DigitalCard
from analogdfc.errors import UserError
from analogdfc.sizing.specification import parse_fixed, parse_ranges

CALIBRATION = Path(__file__).parents[1] / "calibration"
CIRCUIT = (CALIBRATION / "discrete_100mhz.toml").read_text("utf-8")
DEVICE = (CALIBRATION / "devices" / "pcm_nandakumar2019.toml").read_text("utf-8")
MACHINE = (CALIBRATION / "digital" / "nvidia_h200.toml").read_text("utf-8")
TURN = 2 * math.pi


def with_entry(text: str, section: str, key: str, value: float, unit: str) -> str:
    """The card's text with another number for one key, which it may have or not."""
    entry = f'{key} = {{ value = {value!r}, unit = "{unit}", source = "assumed" }}'
    head, mark, rest = text.partition(f"{section}\n")
    assert mark
    part, bracket, after = rest.partition("\n[")
    part = re.sub(rf"^{key} = .*\n?", "", part, flags=re.MULTILINE)
    return f"{head}{mark}{entry}\n{part}{bracket}{after}"


@pytest.mark.parametrize(
    ("section", "key", "value", "unit", "si"),
    [
        ("amplifier", "gain", 80, "dB", 1e4),
        ("amplifier", "gain", 5, "Np", math.exp(5)),
        ("amplifier", "gain", 10, "V/mV", 1e4),
        ("device", "levels", 8, "bit", 256),
        ("device", "levels", 1, "byte", 256),
        ("device", "levels", 64, "count", 64),
        ("amplifier", "gain_bandwidth", 628, "Mrad/s", 628e6 / TURN),
        ("amplifier", "second_pole", 3e8, "cycle/s", 3e8),
        ("amplifier", "second_pole", 3e8, "turn/s", 3e8),
        ("amplifier", "gain_bandwidth", 6e9, "rpm", 1e8),
        ("amplifier", "gain_bandwidth", 3.6e10, "deg/s", 1e8),
        ("device", "mismatch", 500, "ppm", 5e-4),
        ("passive", "tolerance", 0.2, "%", 0.002),
    ],
)
def test_a_card_takes_decibels_bits_and_angles_where_they_have_a_meaning(
    section: str, key: str, value: float, unit: str, si: float
) -> None:
    card = Card.parse(with_entry(CIRCUIT, f"[{section}]", key, value, unit))
    assert getattr(getattr(card, section), key) == pytest.approx(si, rel=1e-12)


@pytest.mark.parametrize(
    ("section", "key", "unit", "why"),
    [
        ("amplifier", "output_resistance", "dB", "decibels and nepers stand for a voltage gain"),
        ("device", "mismatch", "dB", "decibels and nepers stand for a voltage gain"),
        ("device", "levels", "dB", "decibels and nepers stand for a voltage gain"),
        ("amplifier", "gain", "decade", "decibels and nepers stand for a voltage gain"),
        ("amplifier", "gain", "bit", "bits stand for a number of levels"),
        ("wire", "rows", "bit", "bits stand for a number of levels"),
        ("amplifier", "gain_bandwidth", "bit/s", "bits stand for a number of levels"),
        ("amplifier", "gain_bandwidth", "baud", "bits stand for a number of levels"),
        ("converters", "input_dac", "pJ/bit", "bits stand for a number of levels"),
        ("amplifier", "gain", "rad", "angles stand for a frequency in Hz"),
        ("device", "levels", "deg", "angles stand for a frequency in Hz"),
        ("passive", "tolerance", "rad", "angles stand for a frequency in Hz"),
        ("scale", "time", "s/rad", "angles stand for a frequency in Hz"),
        ("amplifier", "slew_rate", "V rad/s", "angles stand for a frequency in Hz"),
        ("amplifier", "second_pole", "rad", "angles stand for a frequency in Hz"),
        ("amplifier", "gain_bandwidth", "rad^2/s", "angles stand for a frequency in Hz"),
    ],
)
def test_a_card_refuses_them_elsewhere(section: str, key: str, unit: str, why: str) -> None:
    text = with_entry(CIRCUIT, f"[{section}]", key, 2.0, unit)
    with pytest.raises(UserError, match=rf"\[{section}\] {key} = .*unit '.*' is not a .*; {why}"):
        Card.parse(text)


def test_a_device_card_counts_levels_in_bits() -> None:
    card = DeviceCard.parse(with_entry(DEVICE, "[device]", "levels", 8, "bit"))
    assert card.device.levels == 256


@pytest.mark.parametrize("unit", ["rad", "dB", "bit"])
def test_a_curve_of_plain_numbers_takes_none_of_them(unit: str) -> None:
    wrong = DEVICE.replace('unit = "1"', f'unit = "{unit}"', 1)
    assert wrong != DEVICE
    with pytest.raises(UserError, match=rf"unit '{unit}' is not a unit of 1; "):
        DeviceCard.parse(wrong)


def test_a_machine_card_has_bytes_but_no_angular_rate() -> None:
    card = DigitalCard.parse(with_entry(MACHINE, "[processor]", "bandwidth", 32, "Tbit/s"))
    assert card.processor is not None
    assert card.processor.bandwidth == pytest.approx(4e12)
    wrong = re.sub(r'unit = "1/ps"', 'unit = "Trad/s"', MACHINE, count=1)
    with pytest.raises(UserError, match="unit 'Trad/s' is not a unit of 1/s; angles stand for"):
        DigitalCard.parse(wrong)


@pytest.mark.parametrize(
    ("text", "unit", "kind", "si"),
    [
        ("80 dB", "1", "gain", 1e4),
        ("80dB", "1", "gain", 1e4),
        ("-20 dB", "1", "gain", 0.1),
        ("100 V/mV", "1", "gain", 1e5),
        ("8bit", "1", "levels", 256.0),
        ("628Mrad/s", "Hz", "", 628e6 / TURN),
        ("1 kcycle/s", "Hz", "", 1e3),
        ("60 rpm", "Hz", "", 1.0),
        ("0.05%", "1", "", 5e-4),
        ("20 ppm", "1", "", 2e-5),
        ("25 degC", "K", "", 298.15),
    ],
)
def test_an_option_takes_them_as_a_card_does(text: str, unit: str, kind: Kind, si: float) -> None:
    assert quantity(text, unit, kind) == pytest.approx(si, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "kind"),
    [
        ("8 bit", "s", ""),
        ("5 %", "s", ""),
        ("180 deg", "s", ""),
        ("2 pi", "V", ""),
        ("80 dB", "ohm", ""),
        ("80 dB", "1", ""),
        ("80 dB", "1", "levels"),
        ("8 bit", "1", "gain"),
        ("8 bit", "1", ""),
        ("1 rad", "1", ""),
        ("1 Mbit/s", "Hz", ""),
        ("1 s/rad", "s", ""),
    ],
)
def test_an_option_refuses_what_has_no_meaning_there(text: str, unit: str, kind: Kind) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(repr(text))} is not a value in {unit}"):
        quantity(text, unit, kind)


def test_a_sweep_and_a_requirement_convert_them() -> None:
    assert parse("levels=8bit,6bit").values == (256.0, 64.0)
    assert parse("gain=60dB,80 dB").values == pytest.approx((1e3, 1e4))
    assert parse("bandwidth=628Mrad/s").values == pytest.approx((628e6 / TURN,))
    assert parse("tolerance=0.05%").values == pytest.approx((5e-4,))
    fixed = parse_fixed(["bandwidth=628Mrad/s", "gain=80dB", "levels=8 bit"])
    assert fixed == pytest.approx({"bandwidth": 628e6 / TURN, "gain": 1e4, "levels": 256})
    assert parse_ranges(["gain=40dB:80dB"])["gain"] == pytest.approx((1e2, 1e4))


@pytest.mark.parametrize("text", ["window=40dB", "gain=8bit", "levels=48dB", "word=3rad"])
def test_a_requirement_refuses_them_elsewhere(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a value in .*; (decibels|bits|angles) .*stand"):
        parse_fixed([text])


def test_what_is_looked_up_is_what_pint_computes_to_the_last_bit() -> None:
    for (written, unit), factor in OFTEN.items():
        for value in (1.0, 0.1, 7.3, -2.5e-7):
            assert value * factor == units().Quantity(value, written).to(unit).magnitude, written


@pytest.mark.parametrize("unit", ["s", "V", "V/s", "1"])
def test_a_text_is_the_number_that_pint_reads(unit: str) -> None:
    often = [written for written, si in OFTEN if si == unit and written[0].isalpha()]
    for number in ("3", "0.5", "+3.", "-.25", "1e3", "2.5E-7", "99999999999999999999"):
        assert quantity(number, unit) == float(number)
        for written in often:
            for text in (f"{number} {written}", f" {number}{written} "):
                known = float(units().Quantity(text.strip()).to(unit).magnitude)
                assert quantity(text, unit) == known


def test_units_that_are_not_looked_up_are_converted_too() -> None:
    assert quantity("2 weeks", "s") == 14 * 86400
    assert to_si(1.0, "eV", "J") == pytest.approx(1.602176634e-19)
    assert to_si(2.0, "nW/mW", "1") == pytest.approx(2e-6)


@pytest.mark.parametrize("text", ["", "3 V", "1e400 s", "1e400", "nan", "3 s s", "1e308 h"])
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a (value in s|finite number of s)"):
        quantity(text, "s")


def test_the_cards_that_come_with_the_package_need_no_registry() -> None:
    cards = [p.read_text("utf-8") for p in CALIBRATION.rglob("*.toml")]
    written = {unit for text in cards for unit in re.findall(r'unit = "([^"]+)"', text)}
    assert len(written) > 20
    assert written <= {often for often, _ in OFTEN}
