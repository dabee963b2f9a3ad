"""What enters is checked where it enters: options, sizes, seeds, weights, before any work."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from analogdfc import records
from analogdfc.cards import Card
from analogdfc.cases import stimuli_for
from analogdfc.cli import COMMANDS, cli
from analogdfc.errors import UserError
from analogdfc.network import Network
from analogdfc.storage import read_model


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def refused(*arguments: str) -> str:
    """What a command answers that ends at once with code 2."""
    start = time.process_time()
    result = run(*arguments)
    assert result.exit_code == 2, result.output or repr(result.exception)
    assert time.process_time() - start < 20, "refused after the work"
    return " ".join(result.stderr.split())


def options() -> list[tuple[str, str, click.Option]]:
    """All options that take one number: command, option, and what it is."""
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found += [
            (name, p.opts[0], p)
            for p in command.params
            if isinstance(p, click.Option)
            and isinstance(p.type, click.types.FloatParamType | click.types.IntParamType)
        ]
    return found


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_number_that_is_not_finite_is_refused_by_every_option(value: str) -> None:
    numbers = [o for o in options() if isinstance(o[2].type, click.types.FloatParamType)]
    assert len(numbers) > 30
    for command, option, parameter in numbers:
        with pytest.raises(click.BadParameter):
            parameter.type.convert(value, parameter, None)
        assert option in refused(command, f"{option}={value}"), (command, option)


def test_a_number_that_is_too_large_to_count_is_refused_by_every_option() -> None:
    counts = [o for o in options() if isinstance(o[2].type, click.types.IntParamType)]
    assert len(counts) > 25
    for command, option, _ in counts:
        assert option in refused(command, option, "9" * 23), (command, option)


@pytest.mark.parametrize(
    "command", ["compare", "estimate", "montecarlo", "netlist", "size", "stability"]
)
@pytest.mark.parametrize("sizes", ["100000-100000-10", "99999999999999999999-4-2"])
def test_a_network_that_does_not_fit_the_memory_is_refused_before_it_is_made(
    command: str, sizes: str
) -> None:
    message = refused(command, "--sizes", sizes)
    assert f"layer sizes {sizes}" in message
    assert "GB of memory; this machine has" in message


@pytest.mark.parametrize(
    "arguments",
    [["train", "--rule", "bp", "--sizes", "64-99999999999-10"],
     ["align", "--sizes", "64-99999999999-10"]],
)  # fmt: skip
def test_so_is_one_to_train_or_to_align(arguments: list[str]) -> None:
    assert "layer sizes 64-99999999999-10" in refused(*arguments)


def test_the_library_refuses_it_too() -> None:
    with pytest.raises(UserError, match=r"layer sizes 1000000-1000000: 1e\+12 weights would need"):
        Network([10**6, 10**6])


def test_a_run_that_does_not_fit_the_memory_is_refused_before_it_begins() -> None:
    message = refused("compare", "--sizes", "3-4-2", "--duration", "1e9")
    assert "waveforms of 4 samples over 50000000000 steps" in message
    message = refused("compare", "--sizes", "3-4-2", "--samples", "2000000000")
    assert "2000000000 samples would need" in message


@pytest.mark.parametrize(
    "command", ["compare", "estimate", "montecarlo", "netlist", "size", "stability"]
)
def test_two_networks_at_once_are_refused(command: str) -> None:
    records.write("w.h5", {"network": {"W1": np.ones((2, 3))}})
    message = refused(command, "--weights", "w.h5", "--sizes", "5-5-5", "-o", "out")
    assert "--sizes: the network comes from w.h5; give only one of the two" in message


def test_a_record_and_sizes_are_two_networks_too() -> None:
    records.write("w.h5", {"network": {"W1": np.ones((2, 3))}})
    assert "--sizes: the network comes from w.h5" in refused("estimate", "w.h5", "--sizes", "5-5")


def test_the_step_size_of_random_inputs_is_the_rms_of_their_target_steps() -> None:
    made = Network((3, 4, 200))
    usual, smaller = stimuli_for(made, 4, 0), stimuli_for(made, 4, 0, 0.01)
    assert smaller.source == "4 random inputs, target steps of 0.01 rms"
    assert float(smaller.step.square().mean().sqrt()) == pytest.approx(0.01, rel=0.1)
    assert torch.allclose(usual.step, 15 * smaller.step)


def network(**parts: object) -> Path:
    """A file of another program with a network 3-2-2."""
    with h5py.File("w.h5", "w") as file:
        group = file.create_group("network")
        for name, value in {"W1": np.ones((2, 3)), "W2": np.ones((2, 2)), **parts}.items():
            if value is not None:
                group[name] = value
    return Path("w.h5")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"Q2": np.eye(2)}, "'network' has Q2 of the feedback Q1 to Q2; all of them or none"),
        ({"Q1": np.eye(2)}, "'network' has Q1 of the feedback Q1 to Q2; all of them or none"),
        ({"Q3": np.eye(2)}, "'network/Q3': the network has the layers 1 to 2"),
        ({"W2": None, "W3": np.eye(2)}, "'network/W3': the network has the layers 1 to 1"),
        ({"b3": np.ones(2)}, "'network/b3': the network has the layers 1 to 2"),
        ({"b0": np.ones(3)}, "'network/b0': the network has the layers 1 to 2"),
        ({"W0": np.ones((3, 4))}, "'network/W0': the network has the layers 1 to 2"),
        ({"W01": np.ones((3, 4))}, "'network/W01': the network has the layers 1 to 2"),
        ({"w3": np.ones((2, 2))}, "'network/w3': is no part of a network, whose matrices are W1"),
        ({"bias1": np.ones(2)}, "'network/bias1': is no part of a network"),
        ({"fc/weight": np.ones(2)}, "'network/fc': is no part of a network"),
        ({"activations": "relu"}, "'network/activations': is no part of a network, whose matr"),
        ({"W1": np.ones((2, 3), dtype=bool)}, "'network/W1' holds truth values; they must be num"),
        ({"b1": np.ones(2, dtype=bool)}, "'network/b1' holds truth values; they must be numbers"),
        ({"sizes": [4, 3, 2, 2]}, "'network/sizes' is [4, 3, 2, 2]; W1 to W2 make [3, 2, 2]"),
        ({"W1": np.ones((2, 3)) + 0j}, "'network/W1' holds complex numbers; they must be real"),
        ({"b1": np.ones(2) * 1j}, "'network/b1' holds complex numbers; they must be real"),
        ({"W1": np.full((2, 3), np.nan)}, "'network/W1' holds nan at index (0, 0)"),
    ],
)
def test_weights_that_would_be_left_out_or_make_no_network_are_refused(
    parts: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_model(network(**parts))
    assert f"w.h5: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"layers": 3}, "'network/layers' is 3; there are W1 to W2"),
        ({"layers": [2]}, "'network/layers' must be a number"),
        ({"Activation": "relu"}, "'network/Activation': is no part of a network"),
        ({"K_P": 3.0}, "b1 to b2 and Q1 to Q2; did you mean 'k_p'?"),
        ({"tau_v": float("nan")}, "'network/tau_v' is nan; it must be a number > 0"),
        ({"tau_v": -1.0}, "'network/tau_v' is -1.0; it must be a number > 0"),
        ({"tau_v": float("inf")}, "'network/tau_v' is inf; it must be a number > 0"),
        ({"k_p": float("nan")}, "finite"),
    ],
)
def test_numbers_of_a_network_that_can_not_hold_are_refused(
    attributes: dict[str, object], message: str
) -> None:
    path = network()
    with h5py.File(path, "a") as file:
        file["network"].attrs.update(attributes)
    with pytest.raises(UserError, match=r"w\.h5: ") as caught:
        read_model(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--fidelity", "ideal", "--rung", "static"], "--rung: ideal cells have no"),
        (
            ["compare", "--fidelity", "ideal", "--until-settled", "1"],
            "--until-settled: ideal cells",
        ),
        (["compare", "--fidelity", "ideal", "--causes"], "--causes: ideal cells have no"),
        (["size", "--no-verify", "--circuits", "3"], "--circuits: --no-verify leaves"),
        (["size", "--no-verify", "--time-limit", "3"], "--time-limit: --no-verify leaves"),
        (["size", "--no-verify", "--backend", "batch"], "--engine: --no-verify leaves"),
        (["estimate", "--epochs", "3"], "--epochs: nothing is trained without --target-accuracy"),
        (["estimate", "--training-seeds", "3"], "--training-seeds: nothing is trained without"),
        (["estimate", "--device", "pcm_nandakumar2019"], "--device: nothing is trained without"),
        (
            ["crossbar", "--size", "2x2", "--word", "1", "--bit", "1", "--wire-resistance", "2"],
            "--wire-resistance: --word and --bit say",
        ),
        (["align", "--feedback-lr", "0.1"], "--feedback-lr: no feedback is learned without"),
        (["align", "--weights", "w.h5", "--activation", "relu"], "--activation: the network comes"),
        (["align", "--rule", "bp", "--target-stepsize", "1"], "--target-stepsize: no rule of bp"),
        (["train", "--rule", "bp", "--target-stepsize", "1"], "--target-stepsize: the rule 'bp'"),
        (["train", "--rule", "bp", "--card", "discrete_100mhz"], "--card discrete_100mhz: the ru"),
        (["compare", "--age", "1h"], "--age: without --devices there is nothing that ages"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def card(section: str, key: str, value: str) -> str:
    """A file of the card that comes with the package, with another value; its name."""
    text = Card.load("discrete_100mhz").text
    head, mark, rest = text.partition(f"[{section}]\n")
    changed = f'{key} = {{ value = {value}, source = "assumed" }}'
    Path("mine.toml").write_text(
        head + mark + re.sub(rf"^{key} = .*$", changed, rest, count=1, flags=re.MULTILINE)
    )
    return "mine.toml"


SLOW = ("amplifier", "gain_bandwidth", '10, unit = "kHz"')
RINGING = ("amplifier", "second_pole", '90, unit = "MHz"')


def test_a_netlist_says_at_its_top_that_its_loop_is_unstable() -> None:
    result = run("netlist", "--sizes", "3-4-2", "--card", card(*SLOW), "-o", "nl")
    assert result.exit_code == 0, result.output
    _, *warnings = result.stdout.split("wrote ")[0].splitlines()
    assert "gain_bandwidth = 10000 Hz is slow for [scale] time" in warnings[0]
    assert "Warning: the loop is unstable: slowest mode +0.0" in warnings[1]


def test_a_netlist_says_that_its_loop_is_slow() -> None:
    result = run("netlist", "--sizes", "3-4-2", "--tau-u", "30", "-o", "nl")
    assert "Warning: the loop is slow: slowest mode -" in result.stdout
    assert "the run ends after 20" in result.stdout
    assert "Warning" not in run("netlist", "--sizes", "3-4-2", "-o", "nl").output


def test_what_is_unusual_about_a_card_stands_at_the_top_of_the_result_and_in_the_record() -> None:
    arguments = ["--sizes", "3-4-2", "--samples", "1", "--card", card(*RINGING)]
    result = run("estimate", *arguments, "-o", "e.h5")
    assert result.exit_code == 0, result.output
    top = result.stdout.split("Settling")[0]
    assert "Warning: [amplifier] second_pole = 9e+07 Hz is below" in top
    assert "second_pole = 9e+07" in records.read("e.h5").text("results/remarks/1")
    result = run("cards", "mine.toml")
    assert "Warning: [amplifier] second_pole = 9e+07 Hz is below" in result.stdout


def test_a_sweep_over_what_no_circuit_can_have_is_refused_and_0_is_none() -> None:
    message = refused("estimate", "--sizes", "3-4-2", "--samples", "1",
                      "--sweep", "amplifier.saturation=1,2")  # fmt: skip
    assert "saturation = 2 V lies beyond supply" in message
    result = run("estimate", "--sizes", "3-4-2", "--samples", "1", "--rules", "",
                 "--sweep", "device.mismatch=0,0.01", "-o", "e.h5")  # fmt: skip
    assert result.exit_code == 0, result.output
    swept = records.read("e.h5").group("results/sweeps/device.mismatch")
    assert isinstance(values := swept["value"], records.Quantity)
    assert values.values.tolist() == [0.0, 0.01]


def components(*arguments: str) -> tuple[str, str]:
    """Circuit and testbench of a netlist."""
    result = run("netlist", "--sizes", "3-4-2", "-o", "nl", *arguments)
    assert result.exit_code == 0, result.output
    return Path("nl/circuit.cir").read_text(), Path("nl/testbench.cir").read_text()


def test_a_chip_has_a_seed_of_its_own() -> None:
    own = components("--seed", "3")
    assert components("--seed", "3", "--chip-seed", "3") == own
    other = components("--seed", "3", "--chip-seed", "4")
    assert other[0] != own[0], "the same components"
    strip = str.splitlines
    assert strip(other[1])[2:] == strip(own[1])[2:], "other inputs"


def test_an_estimate_of_another_chip_is_on_the_same_inputs_and_a_record_keeps_its_chip() -> None:
    common = ["--sizes", "3-4-2", "--samples", "1", "--rules", ""]
    for name, chip in (("a.h5", "1"), ("b.h5", "2")):
        result = run("estimate", *common, "--chip-seed", chip, "-o", name)
        assert result.exit_code == 0, result.output
    a, b = records.read("a.h5"), records.read("b.h5")
    assert (a.array("samples/x") == b.array("samples/x")).all()
    assert a["results/energy_joule"] != b["results/energy_joule"]
    assert [r.integer("chip_seed") for r in (a, b)] == [1, 2]
    assert [r.integer("seed") for r in (a, b)] == [0, 0]
    again = run("estimate", "b.h5", "--samples", "1", "--rules", "", "-o", "c.h5")
    assert again.exit_code == 0, again.output
    c = records.read("c.h5")
    assert c.integer("chip_seed") == 2
    assert c["results/energy_joule"] == b["results/energy_joule"]


def test_devices_of_a_crossbar_are_drawn_by_the_chips_seed() -> None:
    found = {}
    for name, chip in (("a.h5", "1"), ("b.h5", "2")):
        result = run("crossbar", "--size", "3x4", "--chip-seed", chip, "-o", name)
        assert result.exit_code == 0, result.output
        record = records.read(name)
        found[name] = record.array("weights"), record.array("cells/read")
    (w, read), (other_w, other_read) = found.values()
    assert (w == other_w).all()
    assert (read != other_read).any()


@pytest.mark.parametrize(
    "command",
    ["compare", "crossbar", "estimate", "montecarlo", "netlist", "size", "stability", "train"],
)
def test_every_command_that_draws_a_chip_takes_its_seed(command: str) -> None:
    assert any(o[:2] == (command, "--chip-seed") for o in options())
