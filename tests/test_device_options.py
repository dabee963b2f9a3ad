"""`--devices` and `--age`: chips of devices from the command line, and in records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analogdfc import records
from analogdfc.cards.quantities import quantity
from analogdfc.circuit.devices import Devices
from analogdfc.cli import cli

SMALL = ["--sizes", "3-4-2", "--samples", "1"]
PCM = "pcm_nandakumar2019"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "c.h5"
    options = ["--duration", "5", "--fidelity", "macro", "--devices", PCM, "--age", "1h"]
    result = run("compare", *SMALL, *options, "--json", "-o", str(path))
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    parity = printed["parity: behavioural against macro cells"]
    assert max(parity["nrmse_percent"].values()) < 0.5
    assert parity["update"]["all"]["angle_degree"] < 0.1
    causes = {name.removeprefix("without ") for name in printed["causes"]}
    assert {"programming noise", "drift", "read noise", "amplifier offset"} <= causes
    assert not {"device mismatch", "finite levels"} & causes
    return path


def test_a_record_keeps_the_device_card_and_the_age(compared: Path) -> None:
    record = records.read(compared)
    assert record.number("devices/age") == 3600.0
    assert Devices.read(record) == Devices.of(PCM, 3600.0)


def test_an_estimate_takes_the_devices_of_a_record_unless_told_otherwise(
    compared: Path, tmp_path: Path
) -> None:
    expected = {
        (): Devices.of(PCM, 3600.0),
        ("--age", "2 days"): Devices.of(PCM, 172800.0),
        ("--devices", "rram_wan2022"): Devices.of("rram_wan2022"),
    }
    angles = []
    for k, (options, devices) in enumerate(expected.items()):
        path = tmp_path / f"{k}.h5"
        sample = ["--samples", "1", "--rules", "bp"]
        result = run("estimate", str(compared), *options, *sample, "-o", str(path))
        assert result.exit_code == 0, result.output
        record = records.read(path)
        assert Devices.read(record) == devices
        assert f"{devices.name}, {devices.age:g} s after programming" in result.output
        angles.append(record.number("results/update_angle_degree"))
    assert len(set(angles)) == 3


def test_a_netlist_has_the_conductances_of_the_device(tmp_path: Path) -> None:
    files: list[list[float]] = []
    for options in ([], ["--devices", "rram_milo2021"], ["--devices", PCM, "--age", "1h"]):
        folder = tmp_path / str(len(files))
        result = run("netlist", "--sizes", "3-4-2", *options, "-o", str(folder))
        assert result.exit_code == 0, result.output
        text = (folder / "circuit.cir").read_text()
        assert ("* Crossbars of devices: " in text) == bool(options)
        files.append([float(g) for g in re.findall(r" g[pn]=(\S+)", text)])
    assert max(files[0]) < 45e-6  # the technology card's window ends at 40 uS
    assert min(files[1]) > 35e-6
    assert 180e-6 < max(files[1]) < 250e-6
    assert max(files[2]) < 25e-6


def test_without_devices_nothing_ages() -> None:
    result = run("netlist", "--sizes", "3-4-2", "--age", "1h")
    assert result.exit_code == 2
    assert "without --devices there is nothing that ages" in result.output


@pytest.mark.parametrize(
    ("age", "message"),
    [
        ("1 kg", r"'1 kg' is not a value in s; write a number and a unit, such as 1h"),
        ("soon", r"'soon' is not a value in s"),
        ("inf s", r"not a finite number of s"),
        ("-1 s", r"age of the devices -1 s: must be finite and >= 0 s"),
        ("10 years", r"this device was measured until 172800 s"),
    ],
)
def test_an_age_that_makes_no_sense_is_refused(age: str, message: str, tmp_path: Path) -> None:
    options = ["--sizes", "3-4-2", "--devices", "rram_wan2022", f"--age={age}"]
    result = run("netlist", *options, "-o", str(tmp_path / "n"))
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.output.split()))


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("1h", "s", 3600.0), ("3600", "s", 3600.0), ("20 MHz", "Hz", 2e7), (" 2e-3 ", "V", 2e-3)],
)
def test_a_number_is_written_with_its_unit_or_in_the_si_unit(
    text: str, unit: str, value: float
) -> None:
    assert quantity(text, unit) == pytest.approx(value, rel=1e-12)
