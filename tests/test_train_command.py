"""`analogdfc train` from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from analogdfc import records
from analogdfc.cards.device import DeviceCard
from analogdfc.cards.technology import Card
from analogdfc.cli import _training_report, cli, train
from analogdfc.controller import PI
from analogdfc.onchip.registry import RULES
from analogdfc.records import Quantity
from analogdfc.storage import read_model
from analogdfc.training import Trainer

SMALL = ["--dataset", "digits-4x4", "--samples", "60", "--sizes", "16-6-10", "--epochs", "3"]
CHIP = ["--rule", "dfc-chip"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["train", *map(str, arguments)])


def good(*arguments: object) -> dict[str, Any]:
    """The numbers of a run without errors."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    numbers: dict[str, Any] = json.loads(result.stdout)
    return numbers


def weights(path: Path) -> list[np.ndarray[Any, Any]]:
    record = records.read(path)
    return [record.array(f"network/{name}") for name in ("W1", "b1", "W2", "b2")]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("train") / "train.h5"
    return path, run("-o", path)


def test_without_options_it_learns_the_digits(default: tuple[Path, Result]) -> None:
    path, result = default
    assert result.exit_code == 0, result.output
    record = records.read(path)
    assert record.number("results/test_error_percent") < 15
    assert record.text("results/network") == "64-32-10"
    assert record.array("history/test_error").shape == (10,)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_output_is_a_table_with_units_and_the_files(default: tuple[Path, Result]) -> None:
    path, result = default
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "digits, 64-32-10, dfc-ssa, fixed feedback, seed 0"
    assert re.search(r"unit .* train .* validation .* test", lines[2])
    assert re.search(r"10, last .* error .* % ", result.stdout)
    assert lines[-1] == f"wrote {path} and {path.with_suffix('.png')}"
    progress = [line for line in result.stderr.splitlines() if line.startswith("epoch")]
    assert len(progress) == 10
    assert progress[0].startswith("epoch 1 of 10, loss (wrong answers): train ")


def test_the_examples_of_the_help_work_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^ +analogdfc (train.*)$", run("--help").stdout, re.MULTILINE)
    assert len(shown) == 7
    result = CliRunner().invoke(cli, shown[0].split())
    assert result.exit_code == 0, result.output
    # The others take their data from files and hours; here they get others.
    small = ["--dataset", "digits", "--sizes", "64-8-10", "--samples", "20", "--epochs", "1"]
    for line in shown[1:]:
        result = CliRunner().invoke(cli, [*line.split(), *small])
        assert result.exit_code == 0, result.output
        assert (tmp_path / line.split()[-1]).exists()


def test_json_and_record_hold_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    printed = good(*SMALL, "-o", path)
    stored = records.read(path).group("results")
    assert {k: v for k, v in printed.items() if v is not None} == stored
    assert printed["epochs"] == 3
    losses = records.read(path).array("history/validation_error").tolist()
    assert printed["best_epoch"] == losses.index(min(losses)) + 1


def test_the_same_seed_gives_the_same_file_and_another_seed_others(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.h5" for k in range(3)]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        good(*SMALL, "--seed", seed, "-o", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not np.array_equal(weights(paths[0])[0], weights(paths[2])[0])


@pytest.fixture
def _no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time of drawing where many trainings are short."""
    monkeypatch.setattr(train, "training_figure", lambda history, outputs, heading: history)
    monkeypatch.setattr(train, "save_figure", lambda figure, path: path)


@pytest.mark.usefixtures("_no_figure")
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains(rule: str, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    sizes = "16-10-10" if rule == "tp" else "16-6-10"
    numbers = good(*SMALL, "--sizes", sizes, "--rule", rule, "--epochs", 1, "-o", path)
    assert numbers["rule"] == rule
    assert json.loads(records.read(path).text("settings"))["rule"] == rule
    assert 0 < numbers["train_loss"] < 10


# The slower a rule learns, the more it may be wrong after ten epochs; chance is 90 %.
@pytest.mark.usefixtures("_no_figure")
@pytest.mark.parametrize(
    ("rule", "percent"),
    [
        ("ddtp-linear", 12),
        ("ndi", 12),
        ("node-perturbation", 20),
    ],
)
def test_without_options_the_relatives_learn_the_digits_too(
    rule: str, percent: float, tmp_path: Path
) -> None:
    numbers = good("--rule", rule, "-o", tmp_path / "t.h5")
    assert numbers["epochs"] == 10
    assert numbers["test_error_percent"] < percent


@pytest.mark.usefixtures("_no_figure")
def test_dynamic_inversion_learns_the_digits_too(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    numbers = good("--rule", "di-single-loop", "--epochs", 2, "--lr", 0.01, "-o", path)
    assert numbers["test_error_percent"] < 15
    told = json.loads(records.read(path).text("settings"))["dynamics"]
    assert told["max_norm"] == 1.0
    assert (told["settling"]["kind"], told["settling"]["required"]) == ("Simulation", "inf")


@pytest.mark.usefixtures("_no_figure")
def test_feedback_of_targets_learns_before_during_and_between_the_forward_epochs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "--rule", "ddtp-linear", "-o", path)
    record = records.read(path)
    assert json.loads(record.text("settings"))["feedback"] == "learned"
    assert record.integer("training/pretrained") == 6
    # Two mini-batches a pass: 6 of pre-training; one of both and one extra in 3 epochs.
    steps = [
        float(record.array(f"training/optimizers/{phase}/0/step"))
        for phase in ("pre-training", "feedback", "forward")
    ]
    assert steps == [12, 12, 6]


def test_a_rule_that_the_network_does_not_suit_is_refused_before_training(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    result = run(*SMALL, "--rule", "tp", "-o", path)
    assert result.exit_code == 2
    assert last_line(result).startswith(
        "Error: tp needs an invertible network, and layer 2 is not: it has 10 neurons and layer 1 "
        "has 6"
    )
    assert not path.exists()


@pytest.mark.usefixtures("_no_figure")
def test_the_step_of_the_target_can_be_chosen_for_rules_with_one(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    for rule in ("dtp-drl", "gnt", "dfc-ssa"):
        good(*SMALL, "--rule", rule, "--target-stepsize", "0.03", "--epochs", 1, "-o", path)
        told = json.loads(records.read(path).text("settings"))
        assert told["dynamics"]["target_stepsize"] == 0.03


@pytest.mark.parametrize(
    "options",
    [
        ["--rule", "dfc-ssa", "--feedback", "learned"],
        CHIP,
        ["--through", "static"],
        [*CHIP, "--devices", "ecram_mo_kim2019", "--lr", "0.02"],
        [*CHIP, "--devices", "pcm_nandakumar2019", "--age", "1h", "--lr", "0.02"],
    ],
    ids=["dfc-ssa", "chip", "steps", "pulsed", "written"],
)
def test_an_interrupted_run_says_how_to_resume_and_ends_where_a_whole_one_does(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*SMALL, *options]
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    good(*arguments, "-o", whole)
    line = _training_report.epoch_line

    def impatient(trainer: Any) -> str:
        if len(trainer.history) == 2:
            raise KeyboardInterrupt
        return line(trainer)

    with monkeypatch.context() as context:
        context.setattr(train, "epoch_line", impatient)
        result = run(*arguments, "-o", parts)
    assert result.exit_code == 130
    assert f"{parts} holds epoch 2 of 3. Resume with:" in result.stderr
    assert result.stderr.rstrip().endswith("--resume")
    assert records.read(parts).integer("training/epoch") == 2
    refused = run(*arguments, "-o", parts)
    assert refused.exit_code == 2
    assert "isn't finished, at epoch 2; go on with --resume" in refused.stderr
    good(*arguments, "--resume", "-o", parts)
    assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.usefixtures("_no_figure")
def test_a_record_of_a_chip_holds_its_card_its_devices_its_seed_and_its_loop(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.h5"
    arguments = [*SMALL, *CHIP, "--epochs", 1, "--seed", 4, "-o", path]
    good(*arguments)
    record = records.read(path)
    assert record.text("card") == Card.load("discrete_100mhz").text
    assert record.integer("seed") == 4
    assert "devices" not in record
    loop = read_model(path)
    assert (loop.rule, loop.assumed, loop.controller, loop.tau_v) == ("dfc-chip", False, PI(), 0.2)
    good(*arguments, "--devices", "pcm_nandakumar2019", "--age", "1h")
    record = records.read(path)
    assert record.text("devices/card") == DeviceCard.load("pcm_nandakumar2019").text
    assert record.number("devices/age") == 3600
    assert record.number("training/network/time") == 3600


@pytest.mark.usefixtures("_no_figure")
def test_resuming_on_another_chip_is_refused_and_the_chip_named(tmp_path: Path) -> None:
    path, mine = tmp_path / "t.h5", tmp_path / "mine.toml"
    mine.write_text(Card.load("discrete_100mhz").text + "\n# the same, with a remark\n")
    good(*SMALL, *CHIP, "--devices", "pcm_nandakumar2019", "-o", path)
    more = [*SMALL, *CHIP, "--resume", "--epochs", 4, "-o", path]
    same = [*more, "--devices", "pcm_nandakumar2019"]
    assert good(*same, "--card", mine)["epochs"] == 4
    text = mine.read_text()
    name = next(line for line in text.splitlines() if line.startswith("name"))
    for other, message in (
        (
            text.replace(name, 'name = "another"'),
            "dynamics.card.name = Behav.*, not another",
        ),
        (text.replace("g_unit = { value = 10", "g_unit = { value = 9"), "dynamics.card.sha256 = "),
    ):
        assert other != text
        mine.write_text(other)
        result = run(*same, "--card", mine)
        assert result.exit_code == 2
        assert re.search(message, last_line(result)), last_line(result)
    for options, message in (
        ([], "dynamics.devices"),
        (["--devices", "ecram_mo_kim2019"], "dynamics.devices.name = PCM"),
        (
            ["--devices", "pcm_nandakumar2019", "--age", "1h"],
            "dynamics.devices.age = 0.0, not 3600.0",
        ),
    ):
        result = run(*more, *options)
        assert result.exit_code == 2
        assert re.search(message, last_line(result)), last_line(result)


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a process says when it is interrupted, again where Python was in a callback."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=15)[1]
    raise AssertionError("it goes on")


def test_ctrl_c_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    # A runner in the background may have told its children to ignore the interrupt.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from analogdfc.cli import main; sys.argv[0] = 'analogdfc'; main()"
    )
    command = [sys.executable, "-c", code, "train", "--epochs", "100000", "-o", str(path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("epoch 1 of 100000")
            time.sleep(0.1)
            said = interrupted(process)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert f"analogdfc train --epochs 100000 -o {path} --resume" in said
    assert records.read(path).integer("training/epoch") >= 1
    assert read_model(path).network.sizes == (64, 32, 10)


def test_resuming_starts_where_there_is_no_checkpoint_and_adds_epochs_where_there_is(
    tmp_path: Path,
) -> None:
    path, whole = tmp_path / "t.h5", tmp_path / "whole.h5"
    assert good(*SMALL, "--resume", "-o", path)["epochs"] == 3
    assert good(*SMALL, "--resume", "--epochs", 5, "-o", path)["epochs"] == 5
    good(*SMALL, "--epochs", 5, "-o", whole)
    assert all(map(np.array_equal, weights(whole), weights(path)))
    before = weights(path)
    assert good(*SMALL, "--resume", "--epochs", 5, "-o", path)["epochs"] == 5
    assert all(map(np.array_equal, before, weights(path)))


def test_a_finished_training_may_be_replaced_but_not_another_record(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "-o", path)
    assert good(*SMALL, "--seed", 3, "-o", path)["seed"] == 3
    other = records.write(tmp_path / "compare.h5", {"old": 1})
    for more in ([], ["--resume"]):
        result = run(*SMALL, *more, "-o", other)
        assert result.exit_code == 2
        assert "compare.h5: not a checkpoint of a training" in result.stderr
    assert records.read(other).integer("old") == 1
    plain = tmp_path / "notes.h5"
    plain.write_text("mine")
    assert run(*SMALL, "-o", plain).exit_code == 2
    assert plain.read_text() == "mine"


def test_the_network_is_the_input_of_other_commands(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "-o", path)
    result = CliRunner().invoke(cli, ["netlist", "--weights", str(path), "-o", str(tmp_path / "n")])
    assert result.exit_code == 0, result.output
    assert "network 16-6-10" in (tmp_path / "n" / "circuit.cir").read_text()


def test_a_folder_is_no_output() -> None:
    result = run("-o", ".")
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


def test_options_override_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    fitting = ["--dataset", "digits", "--sizes", "64-8-8-10", "--samples", "50", "--epochs", "1"]
    own = ["--lr", "0.25", "--batch-size", "16", "--activation", "tanh,linear"]
    good("--preset", "mnist", "--rule", "dfc", "--feedback", "fixed", *fitting, *own, "-o", path)
    told = json.loads(records.read(path).text("settings"))
    assert told["activations"] == ["tanh", "linear", "linear"]
    assert told["plan"]["optimizer"]["lr"] == 0.25
    assert told["plan"]["batch_size"] == 16
    # What no option says is the preset's.
    assert told["plan"]["optimizer"]["betas"] == [0.99, 0.99]
    assert (told["dynamics"]["steps"], told["dynamics"]["dt"]) == (500, 0.02)
    assert told["loss"] == "cross-entropy"


def test_an_autoencoder_without_classes_has_losses_and_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    options = ["--dataset", "digits-4x4", "--autoencoder", "--rule", "bp", "--samples", "60"]
    numbers = good(*options, "--epochs", 2, "-o", path)
    assert numbers["network"] == "16-32-16"
    assert numbers["test_error_percent"] is None
    assert numbers["test_loss"] > 0
    assert json.loads(records.read(path).text("settings"))["loss"] == "l2"
    assert numbers["loss_unit"] == "of a sample, sum over 16 outputs"
    table = run(*options, "--epochs", 2, "-o", path).stdout
    assert "│ loss   │ 1, sum over 16 outputs │" in table
    about = records.read(path)["history/test_loss"]
    assert isinstance(about, Quantity)
    assert about.description == "of a sample, sum over 16 outputs"
    assert about.dims == ("epoch",)
    assert "error  " not in table


def test_a_regression_needs_no_classes(tmp_path: Path) -> None:
    options = ["--dataset", "student-teacher", "--sizes", "15-4-5", "--samples", "40"]
    numbers = good(*options, "--epochs", 1, "--lr", "0.01", "-o", tmp_path / "t.h5")
    assert numbers["validation_loss"] > 0
    assert numbers["validation_error_percent"] is None


def test_divergence_keeps_the_last_good_checkpoint_and_says_what_to_change(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    options = ["--rule", "bp", "--activation", "linear", "--loss", "l2", "--batch-size", "60"]
    result = run(*SMALL, *options, "--epochs", 9, "--lr", "1e100", "-o", path)
    assert result.exit_code == 2
    assert re.match(r"Error: epoch \d, mini-batch 1: training diverged: ", last_line(result))
    assert "Lower the learning rate" in result.stderr
    done = records.read(path).integer("training/epoch")
    assert f"{path} holds the last good checkpoint: epoch {done} of 9" in result.stderr
    assert all(np.isfinite(w).all() for w in weights(path))


def test_a_finished_training_stays_until_an_epoch_of_a_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "--epochs", 1, "-o", path)
    before = path.read_bytes()
    wild = ["--rule", "bp", "--activation", "linear", "--loss", "l2", "--batch-size", "20"]
    diverged = run(*SMALL, *wild, "--lr", "1e200", "-o", path)
    assert diverged.exit_code == 2
    assert last_line(diverged).endswith(f"{path} still holds the training before")
    assert path.read_bytes() == before

    def impatient(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", impatient)
    interrupted = run(*SMALL, "--seed", 5, "-o", path)
    assert interrupted.exit_code == 130
    assert f"{path} still holds the training before. Train anew with:" in interrupted.stderr
    assert "--resume" not in interrupted.stderr
    assert path.read_bytes() == before


def last_line(result: Result) -> str:
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--rule", "dfcc"], ["unknown learning rule 'dfcc'", "dfa, dfc"]),
        (["--preset", "cifar"], ["unknown preset 'cifar'", "fashion-mnist, mnist"]),
        (["--dataset", "shvn"], ["no data set 'shvn'", "digits"]),
        (["--activation", "swish"], ["unknown activation 'swish'", "linear, piecewise"]),
        (["--activation", "tanh,tanh"], ["2 names for 1 hidden layers"]),
        (["--sizes", "16-6-9"], ["do not fit the layers 16-6-9"]),
        (["--sizes", "15-6-10"], ["do not fit the layers 15-6-10"]),
        (["--sizes", "16"], ["--sizes", "such as 16-10-10"]),
        (["--samples", "5000"], ["5000 samples", "1 to 1294"]),
        (["--feedback", "learned", "--rule", "bp"], ["'bp' has no choice of feedback"]),
        (["--simulate"], ["--simulate is for the rule 'dfc-ss', not 'dfc-ssa'"]),
        (["--target-stepsize", "0.1", "--rule", "bp"], ["'bp' has no output target"]),
        (
            ["--preset", "toy", "--rule", "bp"],
            ["rule 'bp'; it has those of dfc, dfc-ss, dfc-ssa, dfa"],
        ),
        (["--preset", "tp-mnist"], ["no published settings for the rule 'dfc-ssa'", "dtp-drl"]),
        (["--feedback", "fixed", "--rule", "dtp"], ["'dtp' has no choice of feedback"]),
        (["--rule", "di", "--activation", "sigmoid"], ["an activation with phi(0) = 0"]),
        (["--device", "tpu"], ["--device tpu: there are cpu, cuda and cuda:N"]),
        (["--device", "cuda:x"], ["--device cuda:x"]),
        (["--epochs", "0"], ["--epochs"]),
        (["--lr", "-1"], ["--lr"]),
        (["--dtype", "float16"], ["float16", "float32"]),
        (["--dataset", "mnist", "--data", "nowhere"], ["nowhere"]),
        (["--card", "fast"], ["--card fast: the rule 'dfc-ssa' learns without a circuit"]),
        (["--devices", "ideal"], ["--devices ideal: the rule 'dfc-ssa' learns without"]),
        (["--age", "1h", *CHIP], ["--age: without --devices there is nothing that ages"]),
        (["--card", "fast", *CHIP], ["unknown card 'fast'", "discrete_100mhz"]),
        (["--devices", "flash", *CHIP], ["'flash'", "pcm_nandakumar2019"]),
        (["--dtype", "float32", *CHIP], ["a chip is solved in float64"]),
        (["--activation", "relu", *CHIP], ["relu", "tanh"]),
        (["--k-p", "two"], ["controller.k_p = 'two': it must be a number"]),
        (["--rule", "bp", "--k-p", "2"], ["unknown setting 'controller.k_p' of the rule 'bp'"]),
        (["--k-p", "2", "--set", "controller.k_p=2"], ["--k-p: controller.k_p is given twice"]),
        (["--set", "controller.k_p"], ["write NAME=VALUE"]),
        (["--set", "controler.k_p=2"], ["did you mean controller.k_p?"]),
        (["--switch", "fa"], ["write EPOCHS:RULE"]),
        (["--rule", "bp", "--switch", "3:fa"], ["'fa' after 3 epochs: 1 to 2 of 3"]),
        (["--rule", "bp", "--switch", "1:faa"], ["unknown learning rule 'faa'"]),
        (["--weights", "nowhere.h5"], ["nowhere.h5"]),
        (["--frozen", "3"], ["frozen layers [3]: the network has layers 1 to 2"]),
        (["--feedback", "learned", *CHIP], ["'dfc-chip' has no choice of feedback"]),
    ],
)
def test_bad_input_is_one_clear_line_with_exit_code_2(
    options: list[str], messages: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.h5"
    result = run(*SMALL, *options, "-o", path)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for message in messages:
        assert message in result.stderr
    assert not path.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_cuda_device_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = run(*SMALL, "--device", "cuda", "-o", tmp_path / "t.h5")
    assert result.exit_code == 2
    assert last_line(result) == "Error: --device cuda: PyTorch finds no CUDA device; there is cpu"


def test_resuming_with_other_settings_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "-o", path)
    before = path.read_bytes()
    result = run(*SMALL, "--lr", "0.5", "--resume", "--epochs", 5, "-o", path)
    assert result.exit_code == 2
    assert "plan.optimizer.lr = 0.001, not 0.5" in last_line(result)
    assert path.read_bytes() == before


def test_resuming_the_training_of_another_rule_names_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    good(*SMALL, "--rule", "ddtp-linear", "-o", path)
    before = path.read_bytes()
    result = run(*SMALL, "--rule", "fa", "--resume", "-o", path)
    assert result.exit_code == 2
    assert "was trained with rule = ddtp-linear, not fa;" in last_line(result)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("_no_figure")
def test_all_four_patterns_of_xor_are_learned(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    task = ["--dataset", "xor", "--sizes", "2-25-1", "--batch-size", 4, "--lr", 0.02]
    numbers = good(*task, "--rule", "fa", "--loss", "l2", "--epochs", 300, "-o", path)
    assert numbers["test_loss"] < 1e-3
    assert numbers["validation_loss"] is None
    assert numbers["best_epoch"] is None
    result = run(*task, "--patience", 3, "-o", tmp_path / "p.h5")
    assert result.exit_code == 2
    assert "early stopping needs validation samples, and the data have none" in last_line(result)


@pytest.mark.usefixtures("_no_figure")
def test_single_phase_learns_its_feedback_where_nobody_says_otherwise(tmp_path: Path) -> None:
    def learns(*options: str) -> bool:
        path = tmp_path / "t.h5"
        short = ["--samples", 8, "--epochs", 1]
        good(*SMALL, "--rule", "dfc-single-phase", *short, *options, "-o", path)
        told = json.loads(records.read(path).text("settings"))
        learned: bool = told["feedback"] == "learned"
        assert learned == (told["plan"]["feedback"] is not None)
        return learned

    assert learns()
    assert learns("--feedback", "learned")
    assert not learns("--feedback", "fixed")


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    result = run("-o", tmp_path / "no" / "t.h5")
    assert result.exit_code == 2
    assert "no directory" in result.stderr


@pytest.mark.usefixtures("_no_figure")
def test_what_a_rule_has_to_say_is_printed_first_and_last_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    deep = ["--dataset", "digits-4x4", "--samples", 20, "--sizes", "16-8-6-10", "--epochs", 1]
    result = run(*deep, "--rule", "di-single-loop", "-o", path)
    assert result.exit_code == 0, result.output
    said = "the loop was unstable from the start"
    assert result.stderr.startswith(f"Warning: {said}")
    assert said in result.stdout
    notes = records.read(path)["notes"]
    assert isinstance(notes, np.ndarray)
    assert notes[0].startswith(said)


@pytest.mark.usefixtures("_no_figure")
@pytest.mark.filterwarnings("default::analogdfc.errors.RoundingWarning")
@pytest.mark.parametrize("rule", ["dfc-ssa", "dfc-ss", "ddtp-linear"])
def test_a_target_step_that_float32_loses_is_warned_of(rule: str, tmp_path: Path) -> None:
    small = [*SMALL, "--rule", rule, "--target-stepsize", "1e-6", "--epochs", 1]
    result = run(*small, "--dtype", "float32", "-o", tmp_path / "t.h5")
    assert result.exit_code == 0, result.output
    warned = [line for line in result.stderr.splitlines() if "Warning:" in line]
    assert len(warned) == 1
    assert "Warning: target steps, at most" in warned[0]
    assert "raise target_stepsize = 1e-06, or compute in float64 if this isn't" in warned[0]
    assert "target steps were so near to the rounding, in 2 batches" in result.stdout
    assert "Warning" not in run(*small, "-o", tmp_path / "d.h5").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rule", "bp", "--through", "static"], "'bp' learns without a circuit"),
        (["--through", "static", "--duration", 5], "a chip at rest takes no time"),
        (["--through", "ideal", "--fidelity", "macro"], "--fidelity: needs --through circuit"),
        (["--waves", "1"], "--waves 1: needs --through"),
        (["--rule", "bp", "--headroom", 9], "--headroom 9.0: the rule 'bp' learns without"),
        (["--through", "static", "--headroom", 1e300], "1e+300 is not in the range 1<=x<=1000000"),
        (["--rule", "bp", "--compensated"], "--compensated: the rule 'bp' learns without"),
        (["--through", "static", "--compensated"], "--compensated: needs --devices"),
        (
            ["--through", "static", "--compensated", "--devices", "pcm_nandakumar2019"],
            "compensated steps are those of pulses; these devices are written",
        ),
        (["--through", "ideal", "--waves", "a"], "--waves a: numbers of steps"),
        (
            ["--through", "circuit", "--sizes", "64-300-10", "--time-limit", 60],
            "64-300-10 through the circuit: one sample would take about",
        ),
    ],
)
def test_a_way_that_cannot_be_gone_is_refused_before_training(
    options: list[Any], message: str, tmp_path: Path
) -> None:
    result = run(*options, "--samples", 20, "-o", tmp_path / "t.h5")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("_no_figure")
def test_a_training_is_not_resumed_through_another_way(tmp_path: Path) -> None:
    words = ["--dataset", "yin-yang", "--sizes", "4-3-3", "--samples", 1, "--epochs", 1]
    words += ["--batch-size", 1, "-o", tmp_path / "t.h5"]
    good("--through", "ideal", *words)
    result = run("--through", "circuit", *words, "--resume")
    assert result.exit_code == 2
    assert "was trained with dynamics.through.name = ideal, not circuit;" in result.stderr


@pytest.mark.usefixtures("_no_figure")
def test_options_of_the_loop_are_in_the_checkpoint_and_hold_when_resumed(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    options = [*SMALL[:-1], "1", "--controller", "PID", "--k-d", "0.05", "--set", "tau_v=0.1"]
    good(*options, "--frozen", "1", "-o", path)
    kept = json.loads(records.read(path).text("settings"))
    assert kept["dynamics"]["controller"]["kind"] == "PID"
    assert kept["dynamics"]["controller"]["k_d"] == 0.05
    assert (kept["dynamics"]["tau_v"], kept["plan"]["frozen"]) == (0.1, [1])
    result = run(*SMALL, "-o", path, "--resume")
    assert result.exit_code == 2
    assert "resume with the settings of the checkpoint" in result.stderr


@pytest.mark.usefixtures("_no_figure")
@pytest.mark.parametrize(
    ("rule", "still"),
    [
        ("dfc-ssa", ["--feedback", "fixed"]),
        ("ddtp-linear", ["--set", "feedback.pretraining_epochs=0", "--set", "feedback.after=0",
                         "--set", "joint=false"]),
    ],
)  # fmt: skip
def test_a_training_starts_from_the_feedback_weights_of_a_file_too(
    tmp_path: Path, rule: str, still: list[str]
) -> None:
    first, second, third = (tmp_path / f"{k}.h5" for k in range(3))
    short = ["--dataset", "digits-4x4", "--sizes", "16-6-10", "--samples", "20", "--rule", rule]
    short += ["--epochs", "1"]
    learned = ["--feedback", "learned"] if rule == "dfc-ssa" else []
    good(*short, *learned, "-o", first)
    # In one step of so small a learning rate nothing moves.
    rest = [*still, "--lr", "1e-300", "--seed", "5"]
    good(*short, *rest, "--weights", first, "-o", second)
    good(*short, *rest, "-o", third)

    def feedback(path: Path) -> list[Any]:
        model = read_model(path)
        found = model.feedback if rule == "dfc-ssa" else model.pathway
        assert found is not None
        return [t.numpy() for t in found.state_dict().values()]

    assert all(map(np.array_equal, feedback(first), feedback(second)))
    assert not all(map(np.array_equal, feedback(first), feedback(third)))


@pytest.mark.usefixtures("_no_figure")
def test_training_goes_on_from_the_weights_of_a_file(tmp_path: Path) -> None:
    first, second = tmp_path / "1.h5", tmp_path / "2.h5"
    small = ["--dataset", "digits-4x4", "--samples", "60", "--rule", "bp"]
    good(*small, "--sizes", "16-6-10", "--activation", "sigmoid", "--epochs", "1", "-o", first)
    good(*small, "--weights", first, "--epochs", "1", "--lr", "1e-300", "-o", second)
    assert all(map(np.array_equal, weights(first), weights(second)))
    assert read_model(second).network.activations[0].name == "sigmoid"
    result = run(*small, "--weights", first, "--sizes", "16-7-10", "-o", tmp_path / "3.h5")
    assert "they make 16-6-10; the network is 16-7-10" in result.stderr


def test_all_settings_of_a_training_are_listed_with_their_values() -> None:
    result = run("--preset", "mnist", "--rule", "dfc", "--list-settings", "--k-p", "1.25")
    assert result.exit_code == 0, result.output
    assert re.search(r"controller\.k_p +. 1\.25 ", result.stdout)
    assert re.search(r"sleep\.steps +. 48 ", result.stdout)
