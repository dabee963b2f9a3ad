"""What one command wrote is the input of the next, or one line says why it can't be."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.cli import align, cli, train
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, NetworkFeedback
from analogdfc.learning import LearningRule, get_rule, make_rule
from analogdfc.network import Network
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.sizing.trial import Problem
from analogdfc.storage import Model, model_tree, read_model

SMALL = ["--dataset", "digits-4x4", "--samples", "60", "--sizes", "16-6-10", "--epochs", "1"]


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, figure in ((train, "training_figure"), (align, "alignment_figure")):
        monkeypatch.setattr(module, figure, lambda *arguments: arguments)
        monkeypatch.setattr(module, "save_figure", lambda figure, path: path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)])


def trained(path: Path, rule: str) -> Path:
    result = run("train", *SMALL, "--rule", rule, "-o", path)
    assert result.exit_code == 0, result.output
    return path


def refused(*arguments: object) -> str:
    """The one line that a command ends with."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("rule", ["ddtp-linear", "dtp", "ddtp-rhl-rec", "fa", "ndi"])
def test_align_measures_a_rule_with_the_feedback_that_its_training_ended_with(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, measured = trained(tmp_path / "t.h5", rule), {}

    def kept(name: str, *arguments: Any, **options: Any) -> LearningRule:
        measured[name] = make_rule(name, *arguments, **options)
        return measured[name]

    monkeypatch.setattr(align, "make_rule", kept)
    result = run("align", "--dataset", "digits-4x4", "--samples", 8, "--weights", path,
                 "--rule", rule, "--rule", "dfa", "--json", "-o", tmp_path / "a.h5")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rules"].keys() == {rule, "dfa"}
    wanted = records.read(path).group("training/feedback")
    found = measured[rule].feedback
    assert found is not None
    assert found.state_dict().keys() == wanted.keys()
    for name, value in found.state_dict().items():
        stored = torch.from_numpy(records.read(path).array(f"training/feedback/{name}"))
        assert torch.equal(value, stored), name
    # The other rule's feedback is its own.
    assert measured["dfa"].feedback is not None
    assert get_rule(rule).rule is type(measured[rule])


@pytest.mark.parametrize("rule", ["ddtp-linear", "dfa", "dfc-ssa", "dfc-chip", "bp"])
def test_align_says_of_each_rule_where_its_feedback_is_from(rule: str, tmp_path: Path) -> None:
    path, output = trained(tmp_path / "t.h5", rule), tmp_path / "a.h5"
    others = ["ddtp-linear", "fa", "dfc-ss", "dfc-chip", "ndi", "gnt"]
    chosen = [word for name in others for word in ("--rule", name)]
    result = run("align", "--dataset", "digits-4x4", "--samples", 4, "--weights", path, *chosen,
                 "-o", output)  # fmt: skip
    assert result.exit_code == 0, result.output
    results: dict[str, Any] = records.read(output).group("results")
    said = {name: str(found.get("feedback", "")) for name, found in results.items()}
    held = "none" if rule == "bp" else f"that of {rule}"
    loops = {"dfc-ss", "dfc-chip"} if rule.startswith("dfc") else set()
    for name, start in (
        ("ddtp-linear", "random"),
        ("fa", "random"),
        ("ndi", "transposed weights"),
        ("dfc-ss", "product of the transposed weights"),
        ("dfc-chip", "product of the transposed weights"),
    ):
        own = name == rule or name in loops
        assert said[name] == ("that of t.h5" if own else f"{start}; t.h5 holds {held}"), name
    assert said["gnt"] == ""
    for text in filter(None, said.values()):
        assert f": {text}" in result.stdout


def test_align_learns_what_the_record_was_trained_on(tmp_path: Path) -> None:
    path, output = tmp_path / "t.h5", tmp_path / "a.h5"
    task = ["--dataset", "digits-4x4", "--samples", "60", "--autoencoder", "--sizes", "16-6-16"]
    result = run("train", *task, "--rule", "bp", "--epochs", 1, "-o", path)
    assert result.exit_code == 0, result.output
    chosen = ["--samples", 6, "--rule", "bp", "--rule", "dfa"]
    result = run("align", "--weights", path, *chosen, "-o", output)
    assert result.exit_code == 0, result.output
    assert "16-6-16, weights of t.h5; 6 of digits-4x4, autoencoder" in result.stdout
    told = records.read(output).group("settings")
    assert (told["dataset"], told["autoencoder"]) == ("digits-4x4", True)
    said = refused("align", "--weights", path, "--dataset", "digits", *chosen, "-o", output)
    assert said == (
        "Error: the network 16-6-16 does not fit the data set 'digits, autoencoder', which has 64 "
        "inputs and 64 outputs"
    )
    random = ["--dataset", "digits-4x4", "--autoencoder", "--sizes", "16-5-16"]
    assert run("align", *random, *chosen, "-o", output).exit_code == 0


def test_align_says_what_its_rules_have_to_say(tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    task = ["--dataset", "digits-4x4", "--samples", 6, "--sizes", "16-8-6-10"]
    result = run("align", *task, "--rule", "di-single-loop", "--rule", "bp", "-o", output)
    assert result.exit_code == 0, result.output
    note = "the loop was unstable from the start"
    assert f"Warning: di-single-loop: {note}" in result.stdout.splitlines()[2]
    results: dict[str, Any] = records.read(output).group("results")
    assert results["di-single-loop"]["notes"][0].startswith(note)
    assert "notes" not in results["bp"]


def test_a_network_that_learned_without_a_loop_gets_the_default_one_and_that_is_said(
    tmp_path: Path,
) -> None:
    path = trained(tmp_path / "t.h5", "fa")
    result = run("netlist", "--weights", path, "-o", tmp_path / "n")
    assert result.exit_code == 0, result.output
    assert "learned by fa; feedback and controller are the default ones" in result.stdout
    own = trained(tmp_path / "d.h5", "dfc-ssa")
    result = run("netlist", "--weights", own, "-o", tmp_path / "m")
    assert result.exit_code == 0, result.output
    assert "learned by" not in result.stdout


def model_of(**changes: Any) -> Model:
    network = Network([16, 6, 10], generator=torch.Generator().manual_seed(5))
    return Model(network, DirectFeedback.transposed(network), PI(), 0.2)._replace(**changes)


@pytest.mark.parametrize("command", ["netlist", "compare", "estimate"])
def test_a_circuit_says_why_it_has_no_place_for_a_feedback_network(
    command: str, tmp_path: Path
) -> None:
    model = model_of()
    feedback = NetworkFeedback.like(
        DirectFeedback.transposed(model.network), 12, torch.Generator().manual_seed(1)
    )
    tree = {"network": model_tree(model._replace(feedback=feedback))}
    path = records.write(tmp_path / "n.h5", tree)
    said = refused(command, "--weights", path, "-o", tmp_path / "out.h5")
    assert said == "Error: NetworkFeedback: the feedback crossbars realise DirectFeedback only"
    # The rules themselves work through it.
    result = run("align", "--dataset", "digits-4x4", "--samples", 8, "--weights", path,
                 "--rule", "dfc-ssa", "-o", tmp_path / "a.h5")  # fmt: skip
    assert result.exit_code == 0, result.output


def test_neurons_that_the_cells_do_not_realise_are_refused(tmp_path: Path) -> None:
    tree = {"network": model_tree(model_of(neuron="conductance-based"))}
    path = records.write(tmp_path / "n.h5", tree)
    assert read_model(path).neuron == "conductance-based"
    assert "conductance-based neurons; the cells realise" in refused(
        "netlist", "--weights", path, "-o", tmp_path / "out"
    )
    assert "dfc-ssa: " in refused(
        "align", "--dataset", "digits-4x4", "--samples", 8, "--weights", path,
        "--rule", "dfc-ssa", "-o", tmp_path / "a.h5",
    )  # fmt: skip


CARD = "A card of another name"


@pytest.fixture(scope="module")
def on_chip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of a network that learned through a chip of another card, on devices."""
    folder = tmp_path_factory.mktemp("chip")
    card = Card.load("discrete_100mhz")
    text = card.text.replace(card.card.name, CARD)
    (folder / "card.toml").write_text(text, "utf-8")
    chip = ["--card", folder / "card.toml", "--devices", "ecram_mo_kim2019"]
    seeds = ["--seed", 3, "--chip-seed", 5]
    result = run("train", *SMALL, "--rule", "dfc-chip", *chip, *seeds, "-o", folder / "t.h5")
    assert result.exit_code == 0, result.output
    return folder / "t.h5"


def design_of(monkeypatch: pytest.MonkeyPatch, command: str, *arguments: object) -> str:
    """What a command makes its design of; it stops there."""

    def stop(model: Model, card: Card, switches: object, devices: object) -> None:
        raise UserError(f"{card.card.name}, {devices}")

    monkeypatch.setattr(import_module(f"analogdfc.cli.{command}"), "make_design", stop)
    return refused(command, *arguments)


@pytest.mark.parametrize("command", ["compare", "estimate", "netlist"])
def test_a_network_that_learned_through_a_chip_brings_that_chip(
    command: str, on_chip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ["--weights", on_chip, "-o", tmp_path / "out.h5"]
    assert CARD in (found := design_of(monkeypatch, command, *whole))
    assert "ECRAM" in found
    other = design_of(monkeypatch, command, *whole, "--card", "discrete_100mhz")
    assert CARD not in other
    assert "ECRAM" in other


def test_a_sizing_takes_the_chips_card_and_seeds_without_its_devices(
    on_chip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(problem: Problem, *_: object) -> None:
        raise UserError(f"{problem.design.card.card.name}, {problem.design.devices}, "
                        f"chips {problem.seeds}, `max_angle`, max_angle")  # fmt: skip

    monkeypatch.setattr("analogdfc.cli.size.size", stop)
    whole = ["--weights", on_chip, "--chips", 2, "--no-verify", "-o", tmp_path / "out.h5"]
    assert f"{CARD}, None, chips (5, 6), --max-angle, max_angle" in refused("size", *whole)
    said = refused("size", *whole, "--card", "discrete_100mhz", "--seed", 2)
    assert CARD not in said
    assert "chips (2, 3)" in said


def test_the_netlist_of_a_network_that_learned_through_a_chip_is_that_of_its_chip(
    on_chip: Path, tmp_path: Path
) -> None:
    chip = ["--card", on_chip.with_name("card.toml"), "--devices", "ecram_mo_kim2019"]
    said = [*chip, "--seed", 3, "--chip-seed", 5]
    bare = tmp_path / "bare.h5"
    records.write(bare, {"network": model_tree(read_model(on_chip))})
    brought = run("netlist", "--weights", on_chip, "-o", tmp_path / "brought")
    assert brought.exit_code == 0, brought.output
    assert "on the chip of" in brought.output
    assert "programmed anew" in brought.output
    assert run("netlist", "--weights", bare, *said, "-o", tmp_path / "said").exit_code == 0
    texts = [(tmp_path / name / "circuit.cir").read_text() for name in ("brought", "said")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ({"auto_zero": "no"}, r"'readout/auto_zero' must be true or false"),
        ({"auto_hero": True}, r"unknown part 'auto_hero' of 'readout' in r\.h5"),
    ],
)
def test_a_chip_whose_readout_is_none_is_refused(readout: dict[str, Any], message: str) -> None:
    text = Card.load("discrete_100mhz").text
    with pytest.raises(UserError, match=message):
        ChipSubstrate.read(records.Record(Path("r.h5"), {"card": text, "readout": readout}))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_of_a_record_is_in_the_range_of_seeds(seed: int, tmp_path: Path) -> None:
    network = Network([3, 2])
    model = Model(network, DirectFeedback.transposed(network), PI(), 0.2)
    card = Card.load("discrete_100mhz").text
    number: Any = np.uint64(seed % 2**64)
    tree = {"network": model_tree(model), "card": card, "seed": number}
    records.write(tmp_path / "r.h5", tree)
    assert "'seed' is" in refused("estimate", tmp_path / "r.h5", "-o", tmp_path / "e.h5")
