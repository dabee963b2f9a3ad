"""`analogdfc estimate` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled
from strategies import network_of

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.controller import PI
from analogdfc.digital.measured import why_not_measured
from analogdfc.feedback import DirectFeedback
from analogdfc.records import Quantity
from analogdfc.storage import Model, model_tree

SMALL = ["--sizes", "3-4-2", "--samples", "1", "--rules", "bp"]
CARD = Path(__file__).parents[1] / "calibration" / "discrete_100mhz.toml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["estimate", *arguments])


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("estimate") / "e.h5"
    result = run(*SMALL, "--sweep", "amplifier.offset=1mV,5mV", "--json", "-o", str(path))
    assert result.exit_code == 0, result.output
    return path, json.loads(result.stdout)


def test_items_add_up_to_the_total_by_component_and_by_layer(estimated: tuple[Path, Any]) -> None:
    _, printed = estimated
    total = printed["energy_per_sample_joule"]
    assert sum(printed["energy_by_component_joule"].values()) == pytest.approx(total)
    assert sum(printed["energy_by_part_joule"].values()) == pytest.approx(total)
    assert set(printed["energy_by_part_joule"]) == {"layer 1", "layer 2", "controller"}
    assert printed["sample_us"] == pytest.approx(printed["free_phase_us"] + printed["settle_us"])
    assert printed["mean_power_watt"] == pytest.approx(1e6 * total / printed["sample_us"])


def test_noise_has_its_spectrum_in_json_record_and_a_figure(estimated: tuple[Path, Any]) -> None:
    path, printed = estimated
    noise, stored = printed["noise"], records.read(path)
    assert noise["settle_us"] == printed["settle_us"]
    assert 50 < noise["v_rms_uv"] < noise["u_rms_uv"] < 5000
    assert noise["update_angle_averaged_degree"] < noise["update_angle_degree"]
    assert stored.number("results/noise/sigma") == noise["sigma"]
    density = stored["results/noise/spectrum/v_v2_per_hertz"]
    assert isinstance(density, Quantity)
    assert density.units == "V^2/Hz"
    np.testing.assert_array_equal(density.values, noise["spectrum"]["v_v2_per_hertz"])
    assert path.with_name("e_noise.png").stat().st_size > 10_000


def test_record_and_json_hold_the_same_numbers(estimated: tuple[Path, Any]) -> None:
    path, printed = estimated
    record = records.read(path)
    for name in ("energy_per_sample_joule", "sample_us", "update_angle_degree"):
        assert record.number(f"results/{name}") == printed[name]
    swept = printed["sweeps"]["amplifier.offset"]
    for name in ("value", "energy_per_sample_joule", "update_angle_degree"):
        stored = record[f"results/sweeps/amplifier.offset/{name}"]
        assert isinstance(stored, Quantity)
        assert stored.units == {"value": "V", "update_angle_degree": "degree"}.get(name, "J")
        np.testing.assert_array_equal(stored.values, swept[name])
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_every_digital_row_has_a_band_and_its_source(estimated: tuple[Path, Any]) -> None:
    rows = estimated[1]["digital"]["rows"]
    assert len(rows) >= 5
    for row in rows:
        assert 0 < row["energy_per_sample_low_joule"] < row["energy_per_sample_high_joule"]
        assert row["source"]
        assert row["spread"]


def test_a_record_of_compare_is_estimated_with_its_card_and_seed(
    tmp_path: Path, estimated: tuple[Path, Any]
) -> None:
    # An estimate's record holds the same inputs as one of compare.
    other = run(str(estimated[0]), "--samples", "1", "--rules", "", "--json",
                "-o", str(tmp_path / "again.h5"))  # fmt: skip
    assert other.exit_code == 0, other.output
    again = json.loads(other.stdout)
    for name in ("energy_per_sample_joule", "sample_us", "update_angle_degree"):
        assert again[name] == estimated[1][name]
    assert again["origin"].startswith("weights of")


def test_tables_say_units_layers_sources_and_files(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    result = run(*SMALL, "-o", str(path))
    assert result.exit_code == 0, result.output
    for text in ("Energy of one sample, in nJ", "layer 2", "controller", "forward crossbars",
                 "phase margin", "limited by", "an estimate from the card", "Horowitz",
                 "this chip", f"wrote {path}"):  # fmt: skip
        assert text in result.output


def test_an_item_that_the_card_cannot_tell_is_named(tmp_path: Path) -> None:
    card = tmp_path / "mine.toml"
    kept = [line for line in CARD.read_text().splitlines() if not line.startswith("input_dac")]
    card.write_text("\n".join(kept))
    result = run(*SMALL, "--card", str(card), "-o", str(tmp_path / "e.h5"))
    assert result.exit_code == 0, result.output
    assert "[converters] input_dac is missing" in result.output
    assert "total of what is known" in result.output


# What is refused, with one line and exit code 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sweep", "gravity=1"], "'gravity' is unknown"),
        (["--sweep", "gain=1e3", "--sweep", "amplifier.gain=1e4"], "gain is given twice"),
        (["--rules", "magic"], "unknown rule 'magic'"),
        (["--accuracy", "0"], "--accuracy"),
        pytest.param(
            ["--measure"],
            "--measure: ",
            marks=pytest.mark.skipif(why_not_measured() is None, reason="there is a GPU"),
        ),
        (["--method", "guess"], "--method"),
        (["no-such-file.h5"], "no-such-file.h5"),
        (["--card", "nowhere"], "unknown card 'nowhere'"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    tmp_path: Path, options: list[str], complaint: str
) -> None:
    path = tmp_path / "e.h5"
    result = run(*SMALL, *options, "-o", str(path))
    assert result.exit_code == 2
    assert complaint in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_record_and_weights_are_one_too_many(tmp_path: Path, estimated: tuple[Path, Any]) -> None:
    path = str(estimated[0])
    result = run(path, "--weights", path, "-o", str(tmp_path / "e.h5"))
    assert result.exit_code == 2
    assert "give one of them" in result.output


def test_an_unstable_design_gives_its_eigenvalue_and_no_number(tmp_path: Path) -> None:
    card = tmp_path / "slow.toml"
    text = CARD.read_text().replace(
        'gain_bandwidth = { value = 100, unit = "MHz"', 'gain_bandwidth = { value = 1, unit = "MHz"'
    )
    card.write_text(text)
    network = network_of([3, 4, 2], seed=1)
    model = Model(network, DirectFeedback.transposed(network), PI(), 0.2)
    weights = records.write(tmp_path / "w.h5", {"network": model_tree(model)})
    path = tmp_path / "e.h5"
    result = run(
        "--weights", str(weights), "--samples", "1", "--card", str(card), "--json", "-o", str(path)
    )
    assert result.exit_code == 2
    assert "unstable: slowest mode +" in result.output
    assert "gain-bandwidth above" in result.output
    assert "joule" not in result.output
    assert not path.exists()


# Training


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = network_of([16, 5, 10], seed=1)
    model = Model(network, DirectFeedback.transposed(network), PI(), 0.2)
    path = tmp_path_factory.mktemp("weights") / "w.h5"
    return records.write(path, {"network": model_tree(model)})


def trained(weights: Path, folder: Path, target: str) -> tuple[Any, Path]:
    path = folder / "t.h5"
    result = run(
        "--weights", str(weights), "--samples", "1", "--rules", "bp", "--target-accuracy", target,
        "--epochs", "1", "--training-seeds", "1", "--json", "-o", str(path),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), path


def test_a_target_that_is_reached_has_samples_time_and_energy(
    weights: Path, tmp_path: Path
) -> None:
    printed, path = trained(weights, tmp_path, "0.3")
    training = printed["training"]
    (samples,) = training["hardware"]["samples_to_target"]
    assert samples > 0
    assert training["on_chip_us"] == [pytest.approx(samples * printed["sample_us"])]
    without_writes = printed["energy_per_sample_joule"]
    without_writes -= printed["energy_by_component_joule"]["weight writes"]
    assert training["on_chip_joule"][0] == pytest.approx(samples * without_writes, rel=0.05)
    assert training["hardware"]["accuracy"]["seed 0"][-1] >= 0.3
    assert path.with_name("t_training.png").exists()
    assert records.read(path).number("results/training/target_accuracy") == 0.3


def test_a_target_that_is_not_reached_is_said_with_the_curve(weights: Path, tmp_path: Path) -> None:
    printed, _ = trained(weights, tmp_path, "0.999")
    training = printed["training"]
    assert "not reached within" in training["hardware"]["verdict"]
    assert training["hardware"]["samples_to_target"] == [None]
    assert training["on_chip_us"] == training["on_chip_joule"] == [None]
    assert len(training["hardware"]["accuracy"]["seed 0"]) >= 4


def test_training_needs_images_that_fit(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    result = run(*SMALL, "--target-accuracy", "0.9", "-o", str(path))
    assert result.exit_code == 2
    assert "16 or 64 inputs and 10 outputs, not for 3-4-2" in result.output
    assert not path.exists()


def test_the_record_says_what_its_numbers_are(estimated: tuple[Path, Any]) -> None:
    assert unlabelled(estimated[0]) == []
    path, told = estimated
    settling = records.read(path).group("results/settling")
    bend = settling["bend"]
    assert isinstance(bend, Quantity)
    assert bend.values.tolist() == told["settling"]["bend"]
