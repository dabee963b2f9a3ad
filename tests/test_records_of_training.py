"""What one command wrote is the input of the next, or one line says why it can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from analogdfc import records
from analogdfc.cli import align, cli, train
from analogdfc.controller import PI
from analogdfc.feedback import DirectFeedback, NetworkFeedback
from analogdfc.learning import LearningRule, get_rule, make_rule
from analogdfc.network import Network
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
