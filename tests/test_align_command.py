"""`analogdfc align` from the command line."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from labels import unlabelled
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analogdfc import records
from analogdfc.cli import align, cli
from analogdfc.controller import PI
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.records import Quantity
from analogdfc.storage import Model, model_tree

SMALL = ["--dataset", "digits-4x4", "--sizes", "16-6-5-10", "--samples", "6"]
REFERENCES = ("BP", "GN", "MN", "MN-D", "GNT")
LAYERS = ("1", "2", "3", "all")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["align", *map(str, arguments)])


def good(*arguments: object) -> dict[str, Any]:
    """The numbers of a run without errors."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    numbers: dict[str, Any] = json.loads(result.stdout)
    return numbers


def rules(*names: str) -> list[str]:
    return [word for name in names for word in ("--rule", name)]


def angles(numbers: dict[str, Any], rule: str, reference: str) -> dict[str, float]:
    found: dict[str, float] = numbers["rules"][rule]["references"][reference]["angle_degree"]
    return found


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures, for what isn't about them: drawing takes longer than the work."""
    monkeypatch.setattr(align, "alignment_figure", lambda found, title: Figure((1, 1)))


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("align") / "a.h5"
    return path, run(*SMALL, "-o", path)


def model_file(path: Path, scale: float | None = None, alpha: float = 5.0) -> Path:
    """A network with its loop: transposed weights times a scale for feedback, or random ones."""
    network = Network([16, 6, 10], generator=torch.Generator().manual_seed(5))
    if scale is None:
        feedback = DirectFeedback.random(network, torch.Generator().manual_seed(6))
    else:
        matrices = DirectFeedback.transposed(network).matrices
        feedback = DirectFeedback([scale * q.detach() for q in matrices])
    return records.write(
        path, {"network": model_tree(Model(network, feedback, PI(alpha=alpha), 0.2))}
    )


def test_the_table_has_a_row_a_rule_and_the_files_are_named(default: tuple[Path, Result]) -> None:
    path, result = default
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for rule in ("bp", "fa", "dfa", "pbp", "ndi", "dfc", "dfc-ss", "dfc-ssa", "dtp", "ddtp-linear"):
        # One row of the whole network, one of the layers.
        assert sum(f" {rule} " in line for line in lines if "│" in line) == 2, rule
    assert all(any(name in line for line in lines) for name in REFERENCES)
    assert f"wrote {path} and {path.with_suffix('.png')}" in result.stdout
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_the_ideal_rules_have_no_angle_to_themselves(tmp_path: Path) -> None:
    pairs = {"bp": "BP", "gn": "GN", "mn": "MN", "gnt": "GNT"}
    numbers = good(*SMALL, *rules(*pairs), "-o", tmp_path / "a.h5")
    for rule, reference in pairs.items():
        for layer in LAYERS:
            assert angles(numbers, rule, reference)[layer] < 1e-6
        assert numbers["rules"][rule]["null_space_percent"]["all"] < 1e-3
    assert angles(numbers, "bp", "GN")["all"] > 1


@pytest.mark.usefixtures("undrawn")
def test_json_and_record_hold_the_same_numbers_with_units(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    numbers = good(*SMALL, *rules("dfa", "shallow"), "--damping", "0.5", "-o", path)
    record = records.read(path)
    assert record["layers"].tolist() == list(LAYERS)  # type: ignore[union-attr]
    for rule, found in numbers["rules"].items():
        for name in REFERENCES:
            printed = found["references"][name]
            for key, unit in (("angle", "degree"), ("norm_ratio", "1")):
                stored = record.array(f"results/{rule}/{name}/{key}", units=unit, finite=False)
                wanted = printed["angle_degree" if key == "angle" else key]
                assert [None if math.isnan(v) else v for v in stored] == [*wanted.values()]
                assert tuple(wanted) == LAYERS
            assert printed.get("damping") == (None if name == "BP" else 0.5)
        share = record.array(f"results/{rule}/null_space", units="1", finite=False)
        assert np.nanmax(share) <= 1
        angle = record.number(f"results/{rule}/output_angle")
        assert angle == pytest.approx(found["output_angle_degree"])
    assert angles(numbers, "shallow", "BP")["1"] is None
    assert record.array("batch").shape == (6,)
    assert record.array("network/W1").shape == (6, 16)
    assert record.text("provenance/analogdfc")


def leaves(tree: dict[str, Any], where: str = "") -> dict[str, NDArray[Any]]:
    out: dict[str, NDArray[Any]] = {}
    for name, leaf in tree.items():
        if isinstance(leaf, dict):
            out |= leaves(leaf, f"{where}{name}/")
        else:
            out[where + name] = np.asarray(leaf.values if isinstance(leaf, Quantity) else leaf)
    return out


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_record_and_another_does_not(tmp_path: Path) -> None:
    found = []
    for k, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{k}.h5"
        chosen = rules("fa", "node-perturbation", "ddtp-linear")
        good(*SMALL, *chosen, "--seed", seed, "--train-feedback", 1, "-o", path)
        tree = records.read(path).tree
        del tree["provenance"]
        found.append(leaves(tree))
    same = [found[0].keys() == other.keys() for other in found]
    assert same == [True] * 3
    equal = [
        {name for name in found[0] if np.array_equal(found[0][name], other[name])}
        for other in found
    ]
    assert equal[1] == found[0].keys()
    assert not any(re.match(r"results/.*(angle|null_space|norm_ratio)", n) for n in equal[2])


@pytest.mark.usefixtures("undrawn")
def test_a_rule_is_measured_alike_beside_others_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    chosen = rules("ddtp-linear", "fa", "dtp-drl")
    several = good(*SMALL, *chosen, "--train-feedback", 1, "-o", path)
    alone = good(*SMALL, *rules("dtp-drl"), "--train-feedback", 1, "-o", path)
    assert alone["rules"]["dtp-drl"] == several["rules"]["dtp-drl"]


@pytest.mark.usefixtures("undrawn")
def test_feedback_learning_turns_the_updates_to_the_ideal_ones(tmp_path: Path) -> None:
    arguments = [*SMALL, "-o", tmp_path / "a.h5", *rules("ddtp-linear", "fa")]
    before = good(*arguments)
    after = good(*arguments, "--train-feedback", 3)
    gained = (
        angles(before, "ddtp-linear", "GNT")["all"] - angles(after, "ddtp-linear", "GNT")["all"]
    )
    assert gained > 10
    assert before["rules"]["fa"] == after["rules"]["fa"]
    again = good(*arguments, "--train-feedback", 3, "--feedback-lr", "1e-6")
    assert angles(again, "ddtp-linear", "GNT")["all"] == pytest.approx(
        angles(before, "ddtp-linear", "GNT")["all"], abs=0.5
    )


@pytest.mark.usefixtures("undrawn")
def test_weights_come_with_their_feedback_and_controller(tmp_path: Path) -> None:
    output, path = tmp_path / "a.h5", tmp_path / "w.h5"
    arguments = ["--dataset", "digits-4x4", "--samples", 5, *rules("dfc-ssa"), "-o", output]
    found = [
        good(*arguments, "--weights", model_file(path, scale, alpha))
        for scale, alpha in ((None, 5.0), (1.0, 5.0), (1.0, 0.01))
    ]
    assert found[0]["network"] == "16-6-10"
    stored, given = records.read(output), records.read(path)
    assert np.array_equal(stored.array("network/W2"), given.array("network/W2"))
    angle, ratio = (
        [n["rules"]["dfc-ssa"]["references"]["MN"][key]["all"] for n in found]
        for key in ("angle_degree", "norm_ratio")
    )
    assert angle[0] > angle[1] + 10
    # A leak of 5 lets the controller reach a small part of the target.
    assert ratio[1] < 0.5 * ratio[2]


@pytest.mark.usefixtures("undrawn")
def test_best_takes_the_damping_of_the_least_angle_and_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    best = good(*SMALL, *rules("bp"), "--damping", "best", "-o", path)
    tried = {
        d: angles(good(*SMALL, *rules("bp"), "--damping", d, "-o", path), "bp", "MN")["all"]
        for d in (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    }
    assert best["rules"]["bp"]["references"]["MN"]["damping"] == min(tried, key=tried.__getitem__)
    assert angles(best, "bp", "MN")["all"] == pytest.approx(min(tried.values()))
    assert best["damping"] == "best"
    assert "(10)" in run(*SMALL, *rules("bp"), "--damping", "best", "-o", path).stdout


@pytest.mark.usefixtures("undrawn")
def test_the_target_stepsize_goes_to_the_rules_that_have_one(tmp_path: Path) -> None:
    arguments = [*SMALL, "-o", tmp_path / "a.h5", *rules("bp", "dfc-ssa")]
    large = good(*arguments, "--target-stepsize", "0.5")
    small = good(*arguments, "--target-stepsize", "1e-4")
    assert large["rules"]["bp"] == small["rules"]["bp"]
    assert abs(angles(large, "dfc-ssa", "MN")["all"] - angles(small, "dfc-ssa", "MN")["all"]) > 0.1


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", sorted(set(RULES) - {"tp"}))
def test_every_rule_can_be_measured(name: str, tmp_path: Path) -> None:
    found = good(*SMALL, *rules(name), "--loss", "cross-entropy", "-o", tmp_path / "a.h5")
    assert 0 <= angles(found, name, "BP")["all"] <= 180


@pytest.mark.usefixtures("undrawn")
def test_an_invertible_network_takes_target_propagation(tmp_path: Path) -> None:
    arguments = (*SMALL, "--sizes", "16-10-10", "--target-stepsize", "1e-6", *rules("tp"))
    found = good(*arguments, "-o", tmp_path / "a.h5")
    # Exact inverses of the layers give Gauss-Newton targets as the stepsize goes to 0.
    assert angles(found, "tp", "GNT")["all"] < 0.1


def never(*arguments: Any) -> None:
    raise AssertionError("work has begun")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "tp"], "tp needs an invertible network, and layer 2 is not"),
        (["--rule", "nope"], "unknown learning rule 'nope'; there are"),
        (["--damping", "-1"], "'-1': write a number >= 0, or best"),
        (["--damping", "nan"], "'nan': write a number >= 0, or best"),
        (["--damping", "least"], "'least': write a number >= 0, or best"),
        (["--samples", "0"], "0 is not in the range"),
        (["--samples", "205"], "at most 204 here"),
        (["--sizes", "16-5"], "the network 16-5 does not fit the data set 'digits-4x4'"),
        (["--dataset", "digits"], "does not fit the data set 'digits'"),
        (["--dataset", "none"], "no data set 'none'"),
        (["--activation", "cube"], "cube"),
        (["--weights", "missing.h5", "--sizes", "16-6-10"], "give only one of the two"),
        (["-o", "no/such/folder/a.h5"], "there is no directory"),
        (["-o", "."], "is a directory"),
        (
            ["--train-feedback", "2", "--rule", "bp"],
            "none of the rules learns feedback weights: bp",
        ),
    ],
)
def test_bad_input_ends_before_the_work_with_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for work in ("_measure", "alignment_figure"):
        monkeypatch.setattr(align, work, never)
    result = run(*SMALL, *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())


def test_too_many_samples_and_labels_without_classes_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    result = run("--dataset", "xor", "--samples", 9, "-o", output)
    assert result.exit_code == 2
    assert "--samples 9: xor has 1 to 4" in result.stderr
    arguments = ("--dataset", "linear-30-10", "--samples", 3, "--loss", "cross-entropy")
    result = run(*arguments, "-o", output)
    assert result.exit_code == 2
    assert "the labels of linear-30-10 are no classes" in result.stderr


def test_the_weights_are_not_overwritten(tmp_path: Path) -> None:
    weights = model_file(tmp_path / "w.h5")
    result = run("--dataset", "digits-4x4", "--weights", weights, "-o", weights)
    assert result.exit_code == 2
    assert "write to another" in result.stderr
    assert "results" not in records.read(weights)


def test_a_rule_that_diverges_is_named(tmp_path: Path) -> None:
    wrong = model_file(tmp_path / "wrong.h5", scale=-50.0, alpha=0.0)
    arguments = ("--dataset", "digits-4x4", "--weights", wrong, *rules("bp", "dfc"))
    result = run(*arguments, "-o", tmp_path / "a.h5")
    assert result.exit_code == 2, result.output
    assert "Error: dfc: " in result.stderr
    assert not (tmp_path / "a.h5").exists()


def test_help_names_every_option_and_rule() -> None:
    text = run("--help").stdout
    for parameter in align.command.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in text
    words = re.sub(r"-\n\s+", "-", text).replace(",", " ").replace(".", " ").split()
    assert set(RULES) <= set(words)
    assert "analogdfc align --train-feedback 5 -o align.h5" in text


def test_the_record_says_what_its_numbers_are(default: tuple[Path, Result]) -> None:
    assert unlabelled(default[0]) == []
