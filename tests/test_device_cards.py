"""Device cards: the figures that the sources print, the devices they make, what is refused."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from analogdfc.cards.device import DeviceCard, builtin_device_cards
from analogdfc.cards.technology import Card, builtin_cards
from analogdfc.devices import (
    Curve,
    DeviceModel,
    Measured,
    PowerLawDrift,
    Programmed,
    Pulses,
    RandomTelegraph,
    ReadNoise,
    Relaxation,
    Retention,
    SoftBounds,
    Temperature,
    WriteVerify,
)
from analogdfc.errors import UserError

FOLDER = Path(__file__).parents[1] / "calibration" / "devices"
CARDS = sorted(FOLDER.glob("*.toml"))
TEXT = (FOLDER / "pcm_nandakumar2019.toml").read_text(encoding="utf-8")
US, NS, DAY = 1e-6, 1e-9, 86400.0
NANOAMPERE = 1e-9 / 0.1  # siemens at the 0.1 V of the SONOS cards


def model(name: str) -> DeviceModel:
    return DeviceCard.load(name).model()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def value(curve: Curve | None, at: float) -> float:
    assert curve is not None
    return float(curve(torch.tensor([at], dtype=torch.float64)))


def written(name: str, g: float) -> float:
    """Standard deviation of a write at g, in siemens."""
    programming = model(name).programming
    assert programming is not None
    return float(programming.sigma(torch.tensor([g], dtype=torch.float64)))


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


# Cards that come with the package


def numbers(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry with a number of a card, with its place."""
    for section, content in tomllib.loads(text).items():
        for keys in content if isinstance(content, list) else [content]:
            for key, entry in keys.items():
                for part in entry if isinstance(entry, list) else [entry]:
                    if isinstance(part, dict):
                        yield f"[{section}] {key}", part
                    else:
                        assert isinstance(part, str), (section, key)


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_every_number_of_every_card_has_value_unit_and_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entries = list(numbers(text))
    assert len(entries) >= 3
    for place, entry in entries:
        assert {"value", "unit", "source"} <= set(entry), place
        assert set(entry) <= {"value", "unit", "source", "of", "form", "min", "max", "below"}, place
        assert entry["source"].strip(), place
    assert tomllib.loads(text)["card"]["source"].strip()


def test_cards_of_the_package_are_those_of_the_folder_and_load_by_name_or_path() -> None:
    assert builtin_device_cards() == tuple(p.stem for p in CARDS)
    assert not set(builtin_device_cards()) & set(builtin_cards())
    for path in CARDS:
        by_name = DeviceCard.load(path.stem)
        assert by_name == DeviceCard.load(path) == DeviceCard.load(str(path))
        assert by_name.text == path.read_text(encoding="utf-8")


def programmed(device: DeviceModel, seed: int = 0) -> Programmed:
    window = device.window
    x = torch.rand(50, 40, dtype=torch.float64, generator=seeded(7))
    return device.program(window.g_min + window.span * x, seeded(seed))


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_every_card_makes_a_device_that_is_written_read_and_moved(path: Path) -> None:
    device = DeviceCard.load(path).model()
    array = programmed(device)
    for g in (array.g, array.read(0.0, seeded(1)), array.read(DAY, seeded(2))):
        assert bool(torch.isfinite(g).all())
        assert float(g.min()) >= 0
    assert torch.equal(programmed(device).g, array.g)
    if device.pulses is not None:
        up = array.pulse(torch.full(array.g.shape, 5), seeded(3))
        assert float((up.g - array.g).mean()) > 0
    names = device.imperfections
    assert device.ideal().imperfections == ()
    assert bool(names) == (path.stem != "ideal")


WINDOWS = [
    ("pcm_nandakumar2019", 0, 25),
    ("pcm_hermes_legallo2023_1", 0, 10.35),
    ("pcm_hermes_legallo2023_2", 0, 20.7),
    ("pcm_joshi2020", 0.25, 25),
    ("rram_wan2022", 1, 40),
    ("cmo_hfox_falcone2025", 9, 88.2),
    ("cmo_hfox_falcone2025_fine", 9, 88.2),
    ("rram_milo2021", 50, 225),
    ("sonos_agrawal2022", 0, 32),
    ("ag_asi_neurosim", 0.0031, 0.0385),
    ("ecram_li_tang2018", 0.1, 230),
    ("ecram_mo_kim2019", 0.1, 230),
]


@pytest.mark.parametrize(("name", "low", "high"), WINDOWS)
def test_published_window(name: str, low: float, high: float) -> None:
    window = model(name).window
    assert window.g_min == pytest.approx(low * US, rel=0.01, abs=0)
    assert window.g_max == pytest.approx(high * US, rel=0.002, abs=0)


# One test a published point: programming


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 0.837, 1.0])
def test_pcm_of_nandakumar_error(x: float) -> None:
    expected = (0.26348 + 1.9650 * x - 1.1731 * x**2) * US
    assert written("pcm_nandakumar2019", 25 * US * x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 1.0])
def test_pcm_of_hermes_error_with_one_device(x: float) -> None:
    expected = (0.158 + 2.324 * x - 2.163 * x**2 + 0.688 * x**3) * US
    found = written("pcm_hermes_legallo2023_1", 10.35 * US * x)
    assert found == pytest.approx(expected, abs=5e-4 * (1 + x + x**2 + x**3) * US)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 1.0])
def test_pcm_of_hermes_error_with_two_devices(x: float) -> None:
    expected = (0.166 + 4.718 * x - 8.481 * x**2 + 4.690 * x**3) * US
    found = written("pcm_hermes_legallo2023_2", 20.7 * US * x)
    assert found == pytest.approx(expected, abs=5e-4 * (1 + x + x**2 + x**3) * US)


@pytest.mark.parametrize("g", [0.25, 5.0, 25.0])
def test_pcm_of_joshi_error(g: float) -> None:
    expected = (-0.001788 * g**2 + 0.07586 * g + 0.2864) * US
    assert written("pcm_joshi2020", g * US) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("x", [0.05, 0.3, 0.7, 1.0])
def test_rram_of_wan_error_after_a_second(x: float) -> None:
    expected = (0.348 + 16.03 * x - 43.85 * x**2 + 45.39 * x**3 - 16.82 * x**4) * US
    assert written("rram_wan2022", 40 * US * x) == pytest.approx(expected, abs=0.01 * US)


@pytest.mark.parametrize(
    ("name", "c0", "c1"),
    [
        ("cmo_hfox_falcone2025", 0.01122, 0.01129),
        ("cmo_hfox_falcone2025_fine", 0.000811, 0.001069),
    ],
)
@pytest.mark.parametrize("g", [9.0, 50.0, 88.19])
def test_cmo_of_falcone_error_at_both_acceptances(
    name: str, c0: float, c1: float, g: float
) -> None:
    assert written(name, g * US) == pytest.approx((c0 + c1 * g) * US, rel=1e-3)


@pytest.mark.parametrize("g", [50.0, 100.0, 225.0])
def test_rram_of_milo_error(g: float) -> None:
    assert written("rram_milo2021", g * US) == pytest.approx((4.782 - 0.009107 * g) * US, rel=1e-3)


@pytest.mark.parametrize("name", ["sonos_agrawal2022", "sonos_agrawal2022_drift"])
@pytest.mark.parametrize("current", [0.0, 100.0, 1600.0])
def test_sonos_of_agrawal_error_and_read_noise(name: str, current: float) -> None:
    g = current * NANOAMPERE
    expected = 19.89 * (1 - math.exp(-current / 176.3)) * NANOAMPERE
    assert written(name, g) == pytest.approx(expected, rel=1e-3, abs=1e-18)
    noise = model(name).read
    assert noise is not None
    expected = 12.58 * (1 - math.exp(-current / 215.4)) * NANOAMPERE
    assert value(noise.white, g) == pytest.approx(expected, rel=1e-3, abs=1e-18)


# Published points: time and reading


@pytest.mark.parametrize("x", [1e-4, 0.01, 0.05, 0.15, 0.5, 1.0])
def test_pcm_of_nandakumar_drift_exponent(x: float) -> None:
    drift = model("pcm_nandakumar2019").drift
    assert isinstance(drift, PowerLawDrift)
    assert drift.start == 20
    mean = clip(-0.0155 * math.log(x) + 0.0244, 0.049, 0.1)
    sigma = clip(-0.0125 * math.log(x) - 0.0059, 0.008, 0.045)
    assert value(drift.exponent, 25 * US * x) == pytest.approx(mean, rel=1e-9)
    assert value(drift.spread, 25 * US * x) == pytest.approx(sigma, rel=1e-9)


@pytest.mark.parametrize("x", [1e-3, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("time", [20.0, 3600.0, 3.15e7])
def test_pcm_of_nandakumar_read_noise(x: float, time: float) -> None:
    noise = model("pcm_nandakumar2019").read
    assert noise is not None
    g = torch.tensor([25 * US * x], dtype=torch.float64)
    q = min(0.0088 * x**-0.65, 0.2)
    expected = 25 * US * x * q * math.sqrt(math.log((time + 250 * NS) / (2 * 250 * NS)))
    assert float(noise.sigma(g, time)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("number", "start", "g_max"), [(1, 200, 10.35), (2, 300, 20.7)])
def test_pcm_of_hermes_times(number: int, start: float, g_max: float) -> None:
    device = model(f"pcm_hermes_legallo2023_{number}")
    assert isinstance(device.drift, PowerLawDrift)
    assert isinstance(device.read, ReadNoise)
    assert device.drift.start == start
    assert device.read.read_time == pytest.approx(512 * NS, rel=1e-12)
    assert device.drift.exponent.reference == pytest.approx(g_max * US, rel=1e-12)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("x", [1e-3, 0.08, 0.1, 0.2, 0.25, 0.5, 1.0])
def test_pcm_of_hermes_drift_and_read_noise_by_ranges(number: int, x: float) -> None:
    device = model(f"pcm_hermes_legallo2023_{number}")
    drift, noise = device.drift, device.read
    assert isinstance(drift, PowerLawDrift)
    assert noise is not None
    low = clip(-0.0387 * math.log(x) - 0.0182, 0.0720, 0.13)
    mean = low if x < 0.0945 else -0.0436 * x**2 - 0.0126 * x + 0.0736
    if number == 1:
        low = clip(-0.0120 * math.log(x) - 0.0023, 0.0124, 0.04)
        sigma = low if x < 0.3039 else -0.0165 * x**2 + 0.0116 * x + 0.0104
        low = clip(-0.0078 * math.log(x) + 0.0038, 0.0179, 0.04)
        q = low if x < 0.1591 else 0.0664 * x**3 - 0.1352 * x**2 + 0.0768 * x + 0.0088
    else:
        low = clip(-0.0117 * math.log(x) - 0.0057, 0.0091, 0.04)
        sigma = low if x < 0.3055 else -0.0118 * x**2 + 0.0093 * x + 0.0073
        low = clip(-0.0117 * math.log(x) - 0.0069, 0.015, 0.04)
        q = low if x < 0.16 else 0.0069 * x**3 - 0.0280 * x**2 + 0.0211 * x + 0.0123
    g = x * device.window.g_max
    assert value(drift.exponent, g) == pytest.approx(mean, rel=1e-9)
    assert value(drift.spread, g) == pytest.approx(sigma, rel=1e-9)
    assert value(noise.flicker, g) == pytest.approx(q, rel=1e-9)


def test_rram_of_wan_spreads_for_two_days_and_is_read_with_one_percent() -> None:
    device = model("rram_wan2022")
    assert isinstance(device.drift, Measured)
    assert [s.time for s in device.drift.snapshots] == [1.0, DAY, 2 * DAY]
    full = [value(s.spread, 40 * US) / US for s in device.drift.snapshots]
    assert full == pytest.approx([1.103, 2.651, 2.677], abs=2e-3)
    assert device.read is not None
    assert value(device.read.white, 10 * US) == pytest.approx(0.01 * 40 * US, rel=1e-9)


@pytest.mark.parametrize("name", ["cmo_hfox_falcone2025", "cmo_hfox_falcone2025_fine"])
@pytest.mark.parametrize("time", [1.0, 3600.0, 3.15e8])
def test_cmo_of_falcone_relaxation(name: str, time: float) -> None:
    law = model(name).drift
    assert isinstance(law, Relaxation)
    assert value(law.shift, time) == pytest.approx(-0.089 * math.log(time) * US, rel=1e-3, abs=0)
    expected = (0.042 * math.log(time) + 0.412) * US
    assert value(law.spread, time) == pytest.approx(expected, rel=1e-3)


def test_sonos_of_agrawal_drifts_for_five_days() -> None:
    device = model("sonos_agrawal2022_drift")
    assert isinstance(device.drift, Measured)
    assert [s.time for s in device.drift.snapshots] == [k * DAY for k in range(6)]
    last = device.drift.snapshots[-1]
    g = 1000 * NANOAMPERE
    assert value(last.spread, g) == pytest.approx(
        34.57909 * (1 - math.exp(-1000 / 207.34309)) * NANOAMPERE, rel=1e-6
    )
    day5 = [0.319927, 0.106596, -1.04054e-3, 4.50290e-6, -1.10352e-8, 1.56477e-11, -1.27592e-14]
    day5 += [5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29]
    shift = sum(c * 1000.0**k for k, c in enumerate(day5)) * NANOAMPERE
    assert value(last.shift, g) == pytest.approx(shift, rel=1e-6)
    with pytest.raises(UserError, match="nothing is known later"):
        programmed(device).at(6 * DAY)


# Published points: pulses, in normalised weights

PULSED = [
    ("ecram_li_tang2018", 0.002, 0.1, 0.3, 0.0),
    ("ecram_mo_kim2019", 2.82e-4, 0.1, 2.0, 0.0),
    ("hfo2_gong2022", 0.4622, 0.7125, 0.2174, 0.098),
    ("rram_optimised_gong2022", 0.0949, 0.7829, 0.4158, 0.135),
]


@pytest.mark.parametrize(("name", "step", "device", "cycle", "faulty"), PULSED)
def test_pulsed_update(name: str, step: float, device: float, cycle: float, faulty: float) -> None:
    found = model(name)
    pulses = found.pulses
    assert isinstance(pulses, Pulses)
    assert pulses.law.steps() == pytest.approx((step, step), rel=1e-3)
    assert pulses.device_spread == device
    assert pulses.cycle_spread == cycle
    dead = 0.0 if found.faults is None else found.faults.dead
    assert dead == pytest.approx(faulty, abs=5e-4)
    assert isinstance(pulses.law, SoftBounds) == ("gong" in name)
    span = found.window.span
    assert pulses.mean_step(found.window) == pytest.approx(step / 2 * span, rel=2e-3)


def test_ecram_of_tang_takes_a_thousand_pulses_of_its_mean_step_from_end_to_end() -> None:
    device = model("ecram_li_tang2018").without("pulse nonlinearity", "pulse spread", "pulse noise")
    low = torch.tensor([device.window.g_min], dtype=torch.float64)
    up = device.program(low).pulse(torch.tensor([500]))
    middle = (device.window.g_min + device.window.g_max) / 2
    assert float(up.g) == pytest.approx(middle, rel=1e-9)
    assert float(up.pulse(torch.tensor([500])).g) == pytest.approx(device.window.g_max, rel=1e-9)


def test_ag_asi_of_neurosim_crosses_its_window_in_97_pulses_up_and_100_down() -> None:
    device = model("ag_asi_neurosim").without("pulse noise")
    window, pulses = device.window, model("ag_asi_neurosim").pulses
    low = device.program(torch.tensor([window.g_min], dtype=torch.float64))
    half, top = (float(low.pulse(torch.tensor([n])).g) for n in (48, 97))
    assert top == pytest.approx(window.g_max, rel=1e-9)
    assert window.fraction(torch.tensor(half)) > 0.7  # nonlinearity 2.40: fast at first
    high = device.program(torch.tensor([window.g_max], dtype=torch.float64))
    half, bottom = (float(high.pulse(torch.tensor([-n])).g) for n in (50, 100))
    assert bottom == pytest.approx(window.g_min, rel=1e-9)
    assert window.fraction(torch.tensor(half)) < 0.1  # -4.88: faster
    assert pulses is not None
    assert pulses.cycle_noise == pytest.approx(0.035, rel=1e-12)


# Cards of users


def with_line(section: str, line: str, text: str = TEXT) -> str:
    """The card's text with one line more at the start of a section, which may be new."""
    if f"[{section}]\n" in text:
        return text.replace(f"[{section}]\n", f"[{section}]\n{line}\n")
    return f"{text}\n[{section}]\n{line}\n"


def with_entry(section: str, key: str, entry: str, text: str = TEXT) -> str:
    """The card's text with another right-hand side for one key."""
    head, mark, rest = text.partition(f"[{section}]\n")
    assert mark
    changed, count = re.subn(
        rf"^{key} = .*$", lambda _: f"{key} = {entry}", rest, count=1, flags=re.MULTILINE
    )
    assert count == 1
    return head + mark + changed


def entry(number: object, unit: str, more: str = "") -> str:
    return f'{{ value = {number}, unit = "{unit}", source = "assumed"{more} }}'


def refusal(text: str) -> str:
    with pytest.raises(UserError) as error:
        DeviceCard.parse(text, "mine.toml")
    message = str(error.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


OWN = f"""
[card]
kind = "device"
name = "My device"
technology = "RRAM"
source = "assumed"

[device]
g_min = {entry(2, "uS")}
g_max = {entry(100, "uS")}
levels = {entry(33, "1")}

[write_verify]
error = {entry(3, "uS")}
acceptance = {entry(2, "%")}
limit = {entry(50, "1")}

[telegraph]
amplitude = {entry(5, "%")}
time_high = {entry(2, "ms")}
time_low = {entry(1, "ms")}

[retention]
time_constant = {entry(10, "year")}
activation = {entry(1.1, "eV")}
temperature = {entry(358, "K")}

[temperature]
reference = {entry(300, "K")}
coefficient = {entry(0.1, "%/K")}

[spread]
device = {entry(5, "%")}

[faults]
at = {entry(1, "%")}
conductance = {entry(0, "uS")}
"""


def test_a_card_of_the_users_own_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN, encoding="utf-8")
    device = DeviceCard.load(path).model()
    assert device.window.levels == 33
    assert device.programming == WriteVerify(Curve.polynomial(3 * US), acceptance=0.02, limit=50)
    assert device.telegraph == RandomTelegraph(amplitude=0.05, time_high=2e-3, time_low=1e-3)
    year = 365.25 * DAY
    assert device.retention == Retention(time_constant=10 * year, activation=1.1, temperature=358)
    assert device.temperature == Temperature(1e-3, reference=300)
    array = programmed(device)
    assert array.attempts is not None
    assert int(array.attempts.max()) <= 50
    assert float(array.attempts.double().mean()) > 1


def test_a_smaller_window_leaves_the_noise_at_a_conductance_as_it_was() -> None:
    text = with_entry("device", "g_max", entry(10, "uS"))
    small = DeviceCard.parse(text).model().programming
    assert small is not None
    g = torch.tensor([5 * US], dtype=torch.float64)
    assert float(small.sigma(g)) == written("pcm_nandakumar2019", 5 * US)


@pytest.mark.parametrize(
    ("section", "line", "complaint"),
    [
        (
            "device",
            f"gmax = {entry(40, 'uS')}",
            "[device] gmax: unknown key 'gmax'; did you mean 'g_max'",
        ),
        ("device", f"zzz = {entry(40, 'uS')}", "unknown key 'zzz'; allowed are g_min, g_max"),
        (
            "read",
            f"readtime = {entry(1, 'us')}",
            "key 'readtime'; did you mean 'read_time'?",
        ),
        ("programing", f"error = {entry(1, 'uS')}", "unknown key 'programing'; did you mean"),
        ("faults", f"on = {entry(1.5, '1')}", "[faults] on = 1.5 1: must be less than or equal"),
        ("faults", f"on = {entry(-1, '%')}", "[faults] on = -1 %: must be greater than"),
        ("faults", f"at = {entry(1, '%')}", "give `conductance`"),
        ("device", f"levels = {entry(1, '1')}", "[device] levels = 1 1: must be greater than"),
        ("device", f"levels = {entry(2.5, '1')}", "[device] levels: must be a valid integer"),
        (
            "retention",
            f"stretch = {entry(1, '1')}",
            "time_constant: this key is missing",
        ),
        ("telegraph", "amplitude = 0.1", '[telegraph] amplitude: write { value = ..., unit = "1"'),
        ("write_verify", f"error = {entry(1, 'uS')}", "[programming] and [write_verify]"),
        ("relaxation", f"start = {entry(1, 's')}", "[drift] and [relaxation] in one card"),
        ("pulse", 'law = "cubic"', "[pulse] law: must be 'linear step', 'soft bounds' or"),
    ],
)
def test_a_wrong_section_or_key_is_refused_with_what_is_allowed(
    section: str, line: str, complaint: str
) -> None:
    assert complaint in refusal(with_line(section, line))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{ value = [1, 2], unit = 'uS', source = 'x' }", 'missing of; write of = "g / 1 S"'),
        (entry([1, 2], "uS", ", of = 'g / g_max'"), "of = 'g / g_max': write what the values are"),
        (entry([1, 2], "uS", ", of = 't / 1 s'"), "of = 't / 1 s': write what the values are"),
        (entry([1, 2], "uS", ", of = 'g / 25 V'"), "unit 'V' is not a unit of S"),
        (entry([1, 2], "uS", ", of = 'g / 0 uS'"), "reference of a curve 0"),
        (entry([1, 2], "V", ", of = 'g / 25 uS'"), "unit 'V' is not a unit of S"),
        (entry("[1, 'a']", "uS", ", of = 'g / 25 uS'"), "value 'a' is not a number"),
        (entry("[1, nan]", "uS", ", of = 'g / 25 uS'"), "value nan is not finite"),
        (entry([], "uS", ", of = 'g / 25 uS'"), "0 coefficients of a curve"),
        (
            entry([1, 2], "uS", ", of = 'g / 25 uS', form = 'exp'"),
            "unknown form 'exp'; allowed",
        ),
        (entry([1, 2], "uS", ", of = 'g / 25 uS', form = { a = 1 }"), "unknown form {'a': 1}"),
        (entry([1], "uS", ", of = 'g / 25 uS', form = 'power'"), "1 coefficients"),
        (entry(1, "uS", ", below = 0.5"), "pieces of a curve"),
        (entry(1, "uS", ", wiggle = 0.5"), "unknown key 'wiggle'; allowed are value, unit"),
        ("{ value = 1, unit = 'uS' }", "missing source; value, unit (of S) and source"),
        ("{ value = 1, source = 'x' }", "missing unit; value, unit (of S) and source"),
        ("{ value = 1, unit = 'uS', source = '' }", "source must say where"),
        ("3e-6", 'write { value = [...], unit = "S", of = "g / 1 S"'),
    ],
)
def test_a_wrong_curve_is_refused_with_what_is_allowed(written: str, complaint: str) -> None:
    message = refusal(with_entry("programming", "error", written))
    assert "[programming] error" in message
    assert complaint in message


def test_pieces_of_a_curve_have_one_reference() -> None:
    pieces = ", ".join(
        entry([1, 2], "uS", f", of = 'g / {g} uS'{below}")
        for g, below in ((25, ", below = 0.5"), (20, ""))
    )
    message = refusal(with_entry("programming", "error", f"[{pieces}]"))
    assert "the pieces of a curve must have the same 'of'" in message


@pytest.mark.parametrize("g_min", [25, 26])
def test_a_lowest_conductance_not_below_the_highest_is_refused(g_min: float) -> None:
    message = refusal(with_entry("device", "g_min", entry(g_min, "uS")))
    assert f"g_min = {g_min * 1e-6:g} S must stay below g_max = 2.5e-05 S" in message


def test_a_row_of_measured_distributions_is_named_by_its_number() -> None:
    text = (FOLDER / "rram_wan2022.toml").read_text(encoding="utf-8")
    bad = text.replace('value = 2, unit = "day"', 'value = 2, unit = "km"')
    assert "[measured] no. 3 time = 2 km: unit 'km' is not a unit of s" in refusal(bad)
    bad = text.replace('value = 2, unit = "day"', 'value = 1, unit = "s"')
    assert "times of snapshots [1.0, 86400.0, 1.0] s" in refusal(bad)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"pulses_up = {entry(9, '1')}", "law 'soft bounds' has no pulses_up"),
        (f"gamma_up = {entry(0.5, '1')}", "law 'soft bounds' has no gamma_up"),
        (f"w_mn = {entry(0.5, '1')}", "unknown key 'w_mn'; did you mean 'w_min'?"),
    ],
)
def test_a_law_of_pulses_has_its_own_keys(line: str, complaint: str) -> None:
    text = (FOLDER / "hfo2_gong2022.toml").read_text(encoding="utf-8")
    assert complaint in refusal(with_line("pulse", line, text))
    without = re.sub(r"^step = .*\n", "", text, flags=re.MULTILINE)
    assert "law 'soft bounds' needs step" in refusal(without)


def test_a_card_of_the_other_kind_is_told_apart() -> None:
    circuit = Card.load("discrete_100mhz").text
    assert '[card] kind = "device" marks one' in refusal(circuit)
    with pytest.raises(UserError, match=r"mine.toml: this is the card of a device"):
        Card.parse(TEXT, "mine.toml")


def test_an_unknown_device_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UserError) as error:
        DeviceCard.load("pcm")
    assert "unknown device card 'pcm'" in str(error.value)
    for name in builtin_device_cards():
        assert name in str(error.value)
    with pytest.raises(UserError, match=r"nowhere.toml: can't read the device card"):
        DeviceCard.load("nowhere.toml")


@pytest.mark.parametrize("text", ["hello there", TEXT + "[device]\n"])
def test_what_is_not_toml_is_refused_with_the_line(text: str) -> None:
    assert re.search(r"not a TOML file: .*line \d+", refusal(text))


def test_a_card_cannot_be_changed_in_place() -> None:
    card = DeviceCard.load("ideal")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(card.device, "g_max", 1.0)  # noqa: B010
