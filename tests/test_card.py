"""Technology cards: what they accept, what they refuse and say, and what switches off what."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analogdfc.cards import IMPERFECTIONS as ALL_IMPERFECTIONS
from analogdfc.cards import BaseCard, Card, builtin_cards, find
from analogdfc.cards.entries import Ampere, Section
from analogdfc.cards.update_sections import UPDATE_IMPERFECTIONS, UPDATE_KINDS
from analogdfc.cards.zeroing import ZERO_IMPERFECTIONS
from analogdfc.errors import UserError

CALIBRATION = Path(__file__).parents[1] / "calibration"
CARDS = sorted(CALIBRATION.glob("*.toml"))
MEASURED = """[tanh]
current_mismatch = { value = 2, unit = "%", source = "assumed" }
peak_current = { value = 2.1, unit = "uA", source = "assumed" }
scale = { value = 0.26, unit = "V", source = "assumed" }
input_resistance = { value = 300, unit = "kohm", source = "assumed" }
"""
IMPERFECTIONS = {
    name: keys
    for name, keys in ALL_IMPERFECTIONS.items()
    if name not in {*UPDATE_IMPERFECTIONS, *ZERO_IMPERFECTIONS}
}
"""Those of the loop; the card has neither an update path nor an auto-zero of the neurons."""

DRIFT = {("tanh", key) for key in ("scale_drift", "current_drift", "reference")}
"""At the card's own temperature it is nothing."""

UPDATE_SECTIONS = ("auto_zero", "hold", *UPDATE_KINDS)

TEXT = (
    (CALIBRATION / "discrete_100mhz.toml").read_text(encoding="utf-8").replace("[tanh]\n", MEASURED)
)
"""A card with every imperfection."""

UNITS = {
    ("write", "duration"): "s",
    ("scale", "control"): "V",
    ("device", "g_unit"): "S",
    ("wire", "word"): "ohm",
    ("amplifier", "quiescent_current"): "A",
    ("amplifier", "second_pole"): "Hz",
    ("amplifier", "input_capacitance"): "F",
}
PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}


def without_key(section: str, key: str, text: str = TEXT) -> str:
    """The card's text with one line taken out."""
    head, mark, rest = text.partition(f"[{section}]\n")
    assert mark
    shorter, count = re.subn(rf"^{key} = .*\n", "", rest, count=1, flags=re.MULTILINE)
    assert count == 1
    return head + mark + shorter


def with_entry(section: str, key: str, entry: str) -> str:
    """The card's text with another right-hand side for one key."""
    head, mark, rest = TEXT.partition(f"[{section}]\n")
    assert mark
    pattern = re.compile(rf"^{key} = .*$", flags=re.MULTILINE)
    return head + mark + pattern.sub(lambda _: f"{key} = {entry}", rest, count=1)


def entry(value: object, unit: str) -> str:
    return f'{{ value = {value}, unit = "{unit}", source = "assumed" }}'


def refusal(text: str) -> str:
    with pytest.raises(UserError) as error:
        Card.parse(text, "mine.toml")
    message = str(error.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


# Cards that come with the package


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_every_number_of_every_card_has_value_unit_and_source(path: Path) -> None:
    card = Card.load(path)
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    numbers = {
        (section, key): entry
        for section, keys in data.items()
        for key, entry in keys.items()
        if section != "card"
    }
    assert len(numbers) > 10
    for (section, key), number in numbers.items():
        assert set(number) == {"value", "unit", "source"}, (section, key)
        assert number["source"].strip(), (section, key)
        value = getattr(getattr(card, section), key)
        assert value > 0 or (key.endswith("_drift") and value), (section, key)
    assert data["card"]["source"].strip()


def test_cards_of_the_package_are_those_of_the_folder_and_load_by_name() -> None:
    assert builtin_cards() == tuple(p.stem for p in CARDS)
    for path in CARDS:
        by_name = Card.load(path.stem)
        assert by_name == Card.load(path) == Card.load(str(path))
        assert by_name.text == path.read_text(encoding="utf-8")


def test_the_prototypes_card_in_si_units() -> None:
    card = Card.parse(TEXT)
    expected = {
        "scale": {"time": 5e-6, "activation": 0.25, "control": 0.5},
        "device": {"g_unit": 1e-5, "g_min": 1e-6, "g_max": 4e-5, "mismatch": 0.02, "levels": 256},
        "wire": {"word": 5.0, "bit": 5.0, "capacitance": 1e-15},
        "passive": {"r_integrator": 1e5, "r_switch": 1e3, "tolerance": 0.002},
        "amplifier": {
            "supply": 1.65,
            "quiescent_current": 207e-6,
            "gain": 1e4,
            "gain_bandwidth": 1e8,
            "second_pole": 3e8,
            "slew_rate": 60e6,
            "output_resistance": 100.0,
            "input_capacitance": 1e-13,
            "saturation": 1.5,
            "offset": 1e-3,
            "noise": 1e-8,
            "pole_capacitance": 1e-12,
        },
        "tanh": {
            "current": 2e-6,
            "offset": 1e-3,
            "current_mismatch": 0.02,
            "peak_current": 2.1e-6,
            "scale": 0.26,
            "input_resistance": 300e3,
        },
        "write": {"voltage": 2.0, "duration": 1e-8},
        "converters": {"input_dac": 5e-13, "target_dac": 5e-13, "output_adc": 1.7e-12},
        "area": {
            "device": 25e-12,
            "amplifier": 5000e-12,
            "tanh": 1500e-12,
            "capacitor_density": 1e-3,
            "resistor_density": 1e15,
        },
    }
    for section, values in expected.items():
        assert getattr(card, section).model_dump(exclude_none=True) == pytest.approx(
            values, rel=1e-12, abs=0
        )


# Units


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(PREFIXES)), st.floats(1.0, 999.0))
def test_every_si_prefix_converts(place: tuple[str, str], prefix: str, value: float) -> None:
    section, key = place
    expected = value * 10.0 ** PREFIXES[prefix]
    text = with_entry(section, key, entry(repr(value), prefix + UNITS[place]))
    largest = {"V": 100.0, "S": 1.0, "A": 1.0, "F": 1e-6}.get(UNITS[place], math.inf)
    if expected <= largest:
        card = Card.parse(text)
        assert getattr(getattr(card, section), key) == pytest.approx(expected, rel=1e-12, abs=0)
    else:
        assert f"[{section}] {key}" in refusal(text)


@pytest.mark.parametrize(
    ("section", "key", "value", "unit", "si"),
    [
        ("amplifier", "slew_rate", 2, "V/us", 2e6),
        ("amplifier", "slew_rate", 2, "mV/ns", 2e6),
        ("device", "mismatch", 2, "%", 0.02),
        ("device", "g_max", 0.1, "1/kohm", 1e-4),
        ("scale", "time", 1, "minute", 60.0),
    ],
)
def test_compound_and_other_units_convert(
    section: str, key: str, value: float, unit: str, si: float
) -> None:
    card = Card.parse(with_entry(section, key, entry(value, unit)))
    assert getattr(getattr(card, section), key) == pytest.approx(si, rel=1e-12, abs=0)


# Bad input


@pytest.mark.parametrize(
    ("section", "wrong", "suggestion"),
    [
        ("amplifier", "gbw", "did you mean 'gain_bandwidth'?"),
        ("amplifier", "quiescnt_current", "did you mean 'quiescent_current'?"),
        ("device", "g_maximum", "did you mean 'g_max'?"),
        ("wire", "zzz", "allowed are word, bit, capacitance, rows, columns"),
    ],
)
def test_an_unknown_key_is_named_with_what_was_probably_meant(
    section: str, wrong: str, suggestion: str
) -> None:
    message = refusal(TEXT.replace(f"[{section}]\n", f"[{section}]\n{wrong} = 5\n"))
    assert message == f"mine.toml: [{section}] {wrong}: unknown key {wrong!r}; {suggestion}"


def test_an_unknown_section_is_named_with_what_was_probably_meant_or_those_that_exist() -> None:
    assert "[amplifer]: unknown key 'amplifer'; did you mean 'amplifier'?" in refusal(
        TEXT.replace("[amplifier]", "[amplifer]")
    )
    sections = (
        "card, scale, device, wire, passive, amplifier, tanh, write, converters, area, "
        "auto_zero, hold, pulses, multiplier, digital"
    )
    assert refusal(f"{TEXT}\n[qqq]\nx = 1\n").endswith(f"allowed are {sections}")


@pytest.mark.parametrize("key", ["g_unit", "g_min", "g_max"])
def test_a_missing_key_is_named(key: str) -> None:
    assert f"[device] {key}: this key is missing" in refusal(without_key("device", key))


@pytest.mark.parametrize("section", ["card", "scale", "device", "passive", "amplifier", "tanh"])
def test_a_missing_section_is_named(section: str) -> None:
    shorter = re.sub(rf"^\[{section}\]\n(?:(?!\[).*\n)*", "", TEXT, flags=re.MULTILINE)
    assert len(shorter) < len(TEXT)
    assert f"[{section}]: this key is missing" in refusal(shorter)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ('{ value = 40, source = "assumed" }', "missing unit"),
        ('{ value = 40, unit = "uS" }', "missing source"),
        ('{ unit = "uS", source = "assumed" }', "missing value"),
        ("{ value = 40 }", "missing unit and source"),
        ('{ value = 40, unit = "uS", source = " " }', "source must say"),
        ('{ value = 40, unit = "uS", source = 7 }', "source must say"),
        ('{ value = 40, unit = "uS", source = "x", scale = 2 }', "unknown key 'scale'; allowed"),
        ("40e-6", 'write { value = ..., unit = "S", source = "..." }'),
        ('"40 uS"', 'write { value = ..., unit = "S", source = "..." }'),
        ("[40]", 'write { value = ..., unit = "S", source = "..." }'),
        (entry('"40"', "uS"), "value '40' is not a number"),
        (entry("true", "uS"), "value True is not a number"),
        (entry("[40]", "uS"), "value [40] is not a number"),
        (entry("nan", "uS"), "value nan is not finite"),
        (entry("inf", "uS"), "value inf is not finite"),
        (entry(40, "V"), "unit 'V' is not a unit of S"),
        (entry(40, "furlong"), "unit 'furlong' is not a unit of S"),
        (entry(40, "2 uS"), "unit '2 uS' is not a unit of S"),
        (entry(0, "uS"), "must be greater than 0"),
        (entry(-40, "uS"), "must be greater than 0"),
        (entry(1.1, "S"), "must be less than or equal to 1"),
    ],
)
def test_a_wrong_entry_is_refused_with_what_is_allowed(written: str, complaint: str) -> None:
    message = refusal(with_entry("device", "g_max", written))
    assert "[device] g_max" in message
    assert complaint in message


@pytest.mark.parametrize(
    ("section", "key", "written", "allowed"),
    [
        ("device", "mismatch", entry(0.11, "1"), "less than or equal to 0.1"),
        ("device", "mismatch", entry(0, "1"), "greater than 0"),
        ("passive", "tolerance", entry(11, "%"), "less than or equal to 0.1"),
        ("amplifier", "gain", entry(1, "1"), "greater than 1"),
        ("amplifier", "gain_bandwidth", entry(0, "Hz"), "greater than 0"),
        ("amplifier", "supply", entry(101, "V"), "less than or equal to 100"),
        ("amplifier", "input_capacitance", entry(2, "uF"), "less than or equal to 0.000001"),
        ("wire", "bit", entry(0, "ohm"), "greater than 0"),
        ("tanh", "current", entry(2, "A"), "less than or equal to 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_limit(
    section: str, key: str, written: str, allowed: str
) -> None:
    message = refusal(with_entry(section, key, written))
    assert f"[{section}] {key} = " in message
    assert allowed in message


@pytest.mark.parametrize("g_min", [40, 41])
def test_a_lowest_conductance_not_below_the_highest_is_refused(g_min: float) -> None:
    message = refusal(with_entry("device", "g_min", entry(g_min, "uS")))
    assert "[device]" in message
    assert f"g_min = {g_min * 1e-6:g} S must stay below g_max = 4e-05 S" in message


@pytest.mark.parametrize("text", ["hello there", TEXT + "[device]\n", "[card\n", "a = \nb = 2"])
def test_what_is_not_toml_is_refused_with_the_line(text: str) -> None:
    assert re.search(r"not a TOML file: .*line \d+", refusal(text))


@pytest.mark.parametrize("written", ["5", '""', '"µ-process"', '"' + "x" * 121 + '"'])
def test_a_card_needs_a_name_that_a_netlist_can_carry(written: str) -> None:
    assert "[card] name" in refusal(with_entry("card", "name", written))


def test_a_section_that_is_no_table_is_refused() -> None:
    shorter = re.sub(r"^\[wire\]\n(?:(?!\[).*\n)*", "", TEXT, flags=re.MULTILINE)
    assert "[wire]" in refusal(f"wire = 5\n{shorter}")
    assert "unknown key 'text'" in refusal(f'text = "x"\n{TEXT}')


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[card]\nname = "\xb5"\n')
    for path in (tmp_path / "nowhere.toml", tmp_path, latin):
        with pytest.raises(UserError) as error:
            Card.load(path)
        assert str(error.value).startswith(f"{path}: can't read the technology card")


def test_an_unknown_card_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UserError) as error:
        Card.load("discrete_200mhz")
    assert "unknown card 'discrete_200mhz'" in str(error.value)
    for name in builtin_cards():
        assert name in str(error.value)


class Lamp(Section):
    """Section [lamp] of a card that only these tests know."""

    current: Ampere


class LampCard(BaseCard):
    """A kind of cards of one's own."""

    kind: ClassVar[str] = "lamp"
    of: ClassVar[str] = "a lamp"
    what: ClassVar[str] = "lamp card"
    file: ClassVar[str] = "lamp card"

    lamp: Lamp

    def check(self) -> None:
        if self.card.name == "none":
            raise UserError("a lamp has a name")


LAMP = """
[card]
kind = "lamp"
name = "mine"
source = "assumed"
[lamp]
current = { value = 20, unit = "mA", source = "assumed" }
"""


def test_a_kind_of_ones_own_is_read_checked_and_looked_up_as_the_others_are(tmp_path: Path) -> None:
    path = tmp_path / "lamp.toml"
    path.write_text(LAMP, encoding="utf-8")
    card = LampCard.load(path)
    assert card.lamp.current == 0.02
    assert card.text == LAMP
    assert find(path, (Card, LampCard)) == card
    assert LampCard.builtin() == ()
    for changed, message in [
        (LAMP.replace("current", "curent"), "[lamp] curent: unknown key 'curent'; did you mean"),
        (LAMP.replace('"mine"', '"none"'), "lamp.toml: a lamp has a name"),
        (LAMP.replace('"lamp"', '"tube"'), "this is a card of kind 'tube', not the card of a lamp"),
        (TEXT, """the card of a circuit, not the card of a lamp; [card] kind = "lamp" marks one"""),
    ]:
        path.write_text(changed, encoding="utf-8")
        with pytest.raises(UserError, match=re.escape(message)):
            LampCard.load(path)
    with pytest.raises(UserError, match=r"the card of a lamp, not the card of a circuit$"):
        Card.parse(LAMP)
    with pytest.raises(UserError, match=r"unknown card 'candle'; .* one of auto_zero_100mhz"):
        find("candle", (Card, LampCard))


def test_a_bad_file_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(without_key("device", "g_max"), encoding="utf-8")
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: \[device\] g_max"):
        Card.load(path)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        pytest.param("1" + "0" * 400, "s", id="an integer beyond double precision"),
        pytest.param("1e308", "Ms", id="infinite after conversion"),
    ],
)
def test_a_number_that_no_double_holds_is_refused(value: str, unit: str) -> None:
    assert "[scale] time" in refusal(with_entry("scale", "time", entry(value, unit)))


# Imperfections


ESTIMATED = ("write", "converters", "area")
"""Sections of the card that only estimates read."""


DENSITIES = {
    ("amplifier", "noise"),
    ("amplifier", "noise_corner"),
    ("tanh", "noise"),
    ("device", "flicker"),
}
"""Keys of noise, which waveforms are without where none is asked for."""


def optional_keys() -> set[tuple[str, str]]:
    """Keys of the card that can be left out and that change the circuit."""
    found = set()
    for section in set(type(Card.parse(TEXT)).model_fields) - {*ESTIMATED, *UPDATE_SECTIONS}:
        model = getattr(Card.parse(TEXT), section)
        for key, field in getattr(type(model), "model_fields", {}).items():
            if not field.is_required():
                found.add((section, key))
    # Waveforms are without noise, and take the supply current as it is.
    return found - DENSITIES - DRIFT - {("amplifier", "pole_capacitance")}


def test_every_key_that_can_be_left_out_is_an_imperfection_and_no_other() -> None:
    named = [place for keys in IMPERFECTIONS.values() for place in keys]
    assert len(named) == len(set(named))
    # A largest array is a choice of the designer, not an imperfection.
    assert set(named) | {("wire", "rows"), ("wire", "columns")} == optional_keys()


@pytest.mark.parametrize("name", IMPERFECTIONS)
def test_switching_an_imperfection_off_is_leaving_its_keys_out_of_the_file(name: str) -> None:
    text = TEXT
    for section, key in IMPERFECTIONS[name]:
        if getattr(getattr(Card.parse(TEXT), section), key) is not None:
            text = without_key(section, key, text)
    shorter, off = Card.parse(text), Card.parse(TEXT).without(name)
    assert name in Card.parse(TEXT).imperfections
    assert (
        off.imperfections == shorter.imperfections == tuple(n for n in IMPERFECTIONS if n != name)
    )
    assert off.model_dump() == shorter.model_dump()


def test_one_of_the_two_wires_is_an_imperfection_already() -> None:
    assert "wire resistance" in Card.parse(without_key("wire", "bit")).imperfections


def test_the_ideal_card_has_no_imperfection_and_all_else_as_before() -> None:
    card = Card.parse(TEXT)
    ideal = card.ideal()
    assert ideal.imperfections == ()
    assert card.imperfections == tuple(IMPERFECTIONS)  # the card itself is as it was
    left_out = {place for place in places(ideal) if places(ideal)[place] is None}
    assert left_out - DENSITIES - DRIFT == optional_keys()
    kept = {place: value for place, value in places(ideal).items() if value is not None}
    assert kept == {place: places(card)[place] for place in kept}


def places(card: Card) -> dict[tuple[str, str], Any]:
    dumped = card.model_dump(exclude=set(UPDATE_SECTIONS))
    return {(s, k): v for s, keys in dumped.items() for k, v in keys.items()}


some_imperfections = st.sets(st.sampled_from(sorted(IMPERFECTIONS)))


@given(some_imperfections, some_imperfections)
def test_imperfections_switch_off_one_by_one_or_together(first: set[str], second: set[str]) -> None:
    card = Card.parse(TEXT)
    together = card.without(*first, *second)
    assert together == card.without(*first).without(*second)
    assert set(together.imperfections) == set(IMPERFECTIONS) - first - second


def test_an_unknown_imperfection_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UserError) as error:
        Card.parse(TEXT).without("gravity")
    assert "'gravity'" in str(error.value)
    assert all(name in str(error.value) for name in ALL_IMPERFECTIONS)


def test_replace_changes_the_named_values_and_no_other() -> None:
    card = Card.parse(TEXT)
    other = card.replace("amplifier", gain=500.0, offset=None)
    changed = {p for p in places(card) if places(card)[p] != places(other)[p]}
    assert changed == {("amplifier", "gain"), ("amplifier", "offset")}
    assert other.amplifier.gain == 500.0
    assert "amplifier offset" not in other.imperfections


def test_replace_names_a_section_or_key_that_does_not_exist() -> None:
    card = Card.parse(TEXT)
    with pytest.raises(UserError, match="unknown section 'amp'"):
        card.replace("amp", gain=1e3)
    with pytest.raises(UserError, match=r"unknown section 'text'"):
        card.replace("text", gain=1e3)
    with pytest.raises(UserError, match=r"unknown key 'a0' in section \[amplifier\]"):
        card.replace("amplifier", a0=1e3)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("amplifier", {"gain": -3.0}),
        ("amplifier", {"gain_bandwidth": 0.0}),
        ("device", {"g_min": 5e-5}),
        ("device", {"g_max": None}),
        ("scale", {"time": math.nan}),
    ],
)
def test_replace_refuses_what_a_file_could_not_say(
    section: str, values: dict[str, float | None]
) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        Card.parse(TEXT).replace(section, **values)


@pytest.mark.parametrize("key", ["gain", "offset"])
def test_a_card_cannot_be_changed_in_place(key: str) -> None:
    amplifier = Card.parse(TEXT).amplifier
    with pytest.raises(ValidationError, match="frozen"):
        setattr(amplifier, key, 1.0)


# What the numbers say together.


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("amplifier", "saturation", entry(2, "V"), "saturation = 2 V lies beyond supply = 1.65 V"),
        ("scale", "activation", entry(2, "V"), "activation = 2 V lies beyond [amplifier] supply"),
        ("amplifier", "gain_bandwidth", entry(100, "mHz"), "= 0.1 Hz is too slow to take part"),
    ],
)
def test_a_card_that_no_circuit_can_have_is_refused(
    section: str, key: str, value: str, message: str
) -> None:
    assert message in refusal(with_entry(section, key, value))


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("wire", "word", entry(5, "Mohm"), "[wire] word = 5e+06 ohm: one segment has 2e+04 %"),
        ("wire", "bit", entry(5, "Mohm"), "[wire] bit = 5e+06 ohm: one segment has"),
        ("amplifier", "gain_bandwidth", entry(10, "kHz"), "gain_bandwidth = 10000 Hz is slow"),
        ("amplifier", "second_pole", entry(10, "MHz"), "second_pole = 1e+07 Hz is below"),
        ("amplifier", "slew_rate", entry(1, "V/s"), "slew_rate = 1 V/s takes longer"),
        ("amplifier", "slew_rate", entry(10, "mV/us"), "slew_rate = 10000 V/s drive outputs to"),
        ("amplifier", "saturation", entry(0.2, "V"), "saturation = 0.2 V is below [scale]"),
        ("amplifier", "output_resistance", entry(20, "kohm"), "can't drive a device"),
        ("amplifier", "offset", entry(50, "mV"), "[amplifier] offset = 0.05 V is 20 %"),
        ("tanh", "offset", entry(50, "mV"), "[tanh] offset = 0.05 V is 20 %"),
        ("passive", "r_switch", entry(80, "kohm"), "doesn't reset an integrator"),
        ("device", "g_min", entry(30, "uS"), "leaves little of the window"),
    ],
)
def test_what_is_unusual_about_a_card_is_said_in_a_sentence(
    section: str, key: str, value: str, words: str
) -> None:
    remarks = Card.parse(with_entry(section, key, value)).remarks
    assert sum(words in remark for remark in remarks) == 1


@pytest.mark.parametrize("name", builtin_cards())
def test_there_is_nothing_unusual_about_a_card_that_comes_with_the_package(name: str) -> None:
    assert Card.load(name).remarks == ()


def test_a_byte_order_mark_of_an_editor_is_no_part_of_a_card(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert Card.load(path).text == TEXT
    assert Card.parse(f"\ufeff{TEXT}").scale == Card.parse(TEXT).scale


def test_a_name_that_no_netlist_can_have_is_named_by_its_characters() -> None:
    text = re.sub('^name = ".*"$', 'name = "10 \u00b5S pairs"', TEXT, count=1, flags=re.MULTILINE)
    assert "[card] name: '\u00b5' can't stand in a netlist; write printable ASCII" in refusal(text)


@pytest.mark.parametrize(
    ("section", "key"),
    [("device", "mismatch"), ("wire", "word"), ("amplifier", "offset"), ("passive", "tolerance")],
)
def test_0_leaves_out_what_a_circuit_may_be_without(section: str, key: str) -> None:
    card = Card.load("discrete_100mhz")
    assert getattr(getattr(card.replace(section, **{key: 0.0}), section), key) is None
    with pytest.raises(UserError, match="greater than"):
        card.replace("amplifier", gain=0.0)


# Files that no person writes


@pytest.mark.parametrize("unit", ["V**9**9**9", "9**9**9 V", "V⁹⁹⁹⁹⁹⁹⁹⁹⁹", "V**(9*9**9**9)"])
def test_a_unit_is_no_sum_to_work_out(unit: str) -> None:
    text = with_entry("amplifier", "supply", entry(1, unit))
    assert "[amplifier] supply" in refusal(text)
    assert "is not a unit of V" in refusal(text)


def test_an_integer_of_thousands_of_digits_is_refused() -> None:
    assert "not a TOML file" in refusal(with_entry("amplifier", "supply", entry("9" * 5000, "V")))


def test_tables_within_tables_without_end_are_refused() -> None:
    assert "nested too deeply" in refusal(with_entry("amplifier", "supply", "[" * 6000))


def test_a_message_repeats_no_more_of_a_card_than_tells_which_place() -> None:
    long = "a" * 5000
    for text in (
        f'"{long}" = 1\n{TEXT}',
        with_entry("amplifier", "supply", f'{{ "{long}" = 1 }}'),
        with_entry("amplifier", "supply", entry(f'"{long}"', "V")),
        with_entry("amplifier", "supply", entry(1, long)),
    ):
        assert len(refusal(text)) < 800
