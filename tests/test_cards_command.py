"""`analogdfc cards` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analogdfc.cards.device import DeviceCard, builtin_device_cards
from analogdfc.cards.technology import builtin_cards
from analogdfc.cli import COMMANDS, cli
from analogdfc.digital.card import DigitalCard, builtin_digital_cards

CALIBRATION = Path(__file__).parents[1] / "calibration"
ALL = (*builtin_cards(), *builtin_device_cards(), *builtin_digital_cards())


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "cards", "List all cards, or show one.")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["cards", *arguments])


def test_the_list_names_every_card_with_kind_range_and_source() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for name in ALL:
        assert name in result.output
    line = next(line for line in result.output.splitlines() if "pcm_nandakumar2019" in line)
    for part in ("device", "PCM", "0 to 25", "Nandakumar"):
        assert part in line
    line = next(line for line in result.output.splitlines() if "discrete_100mhz" in line)
    assert "circuit" in line
    assert "1 to 40" in line


def test_json_lists_the_same_cards_in_si_units() -> None:
    cards = {card["name"]: card for card in json.loads(run("--json").stdout)}
    assert tuple(cards) == ALL
    for name in builtin_device_cards():
        loaded = DeviceCard.load(name)
        assert cards[name]["kind"] == "device"
        assert cards[name]["g_max_siemens"] == loaded.device.g_max
        assert cards[name]["technology"] == loaded.card.technology
        assert cards[name]["source"] == loaded.card.source
    for name in builtin_digital_cards():
        assert cards[name]["kind"] == "digital"
        assert cards[name]["source"] == DigitalCard.load(name).card.source
        assert "g_max_siemens" not in cards[name]


@pytest.mark.parametrize("name", ALL)
def test_a_card_is_shown_with_every_number_unit_and_source(name: str) -> None:
    result = run(name)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.output.split())
    sections = json.loads(run(name, "--json").stdout)["sections"]
    for section, content in sections.items():
        assert section in shown
        for keys in content if isinstance(content, list) else [content]:
            for key, entry in keys.items():
                assert key in shown
                for part in entry if isinstance(entry, list) else [entry]:
                    if not isinstance(part, dict):
                        assert str(part) in shown
                        continue
                    values = part["value"] if isinstance(part["value"], list) else [part["value"]]
                    for value in values:
                        assert str(value) in shown, (section, key)
                    assert part["source"].split()[0] in shown


def test_a_card_of_the_users_own_is_shown_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (CALIBRATION / "devices" / "ideal.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("Ideal device", "My device [3]"), encoding="utf-8")
    result = run(str(path))
    assert result.exit_code == 0, result.output
    assert "My device [3] (device card 'mine')" in result.output
    circuit = CALIBRATION / "discrete_100mhz.toml"
    assert json.loads(run(str(circuit), "--json").stdout)["kind"] == "circuit"


def test_an_unknown_card_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    result = run("pcm")
    assert result.exit_code == 2
    assert "unknown card 'pcm'" in result.stderr
    for name in ALL:
        assert name in result.stderr
    result = run(str(tmp_path / "nowhere.toml"))
    assert result.exit_code == 2
    assert "can't read the card" in result.stderr


def test_a_wrong_card_is_named_with_its_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    text = (CALIBRATION / "devices" / "ideal.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("g_max =", "gmax ="), encoding="utf-8")
    result = run(str(path))
    assert result.exit_code == 2
    assert f"{path}: [device] gmax: unknown key 'gmax'; did you mean 'g_max'?" in result.stderr


def test_help_starts_with_what_it_does_and_has_an_example() -> None:
    shown = run("--help").output
    assert "List all cards, or show one." in shown
    assert "analogdfc cards pcm_nandakumar2019" in shown
