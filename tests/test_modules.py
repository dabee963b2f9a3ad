"""Rules, data sets and presets from files of one's own, and networks from torch.nn.Sequential."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from analogdfc import records
from analogdfc.activations import ACTIVATIONS
from analogdfc.cli import cli
from analogdfc.controller import PI
from analogdfc.datasets import DATASETS
from analogdfc.errors import UserError
from analogdfc.importing import from_sequential
from analogdfc.learning import RULES, Backpropagation
from analogdfc.presets import load_preset
from analogdfc.training import modules
from analogdfc.training.modules import load_module

OWN = '''
import torch
from torch import Tensor
from analogdfc import register
from analogdfc.datasets import Dataset, register_dataset
from analogdfc.learning import Backpropagation
from analogdfc.network import Network

@register("half-bp", family="own", local="no", source="this file")
class HalfBackpropagation(Backpropagation):
    """Part of the gradient.

    Args:
        network: the network that learns.
        share: part of the gradient that is learned.
    """

    def __init__(self, network: Network, *args, share: float = 0.5, **kwargs) -> None:
        super().__init__(network, *args, **kwargs)
        self.share = share

    def settings(self):
        return {**super().settings(), "share": self.share}

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        loss = super().backward(x, y)
        for p in self.network.parameters():
            p.grad *= self.share
        return loss

def _load(data, dtype):
    x = torch.eye(4, dtype=dtype)
    return Dataset(x, x[:, :2], x, x[:, :2])

register_dataset("corners", "four points", _load)
'''


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """The file, and the registries afterwards as they were."""
    registries = cast("tuple[dict[str, Any], ...]", (RULES, DATASETS, ACTIVATIONS))
    kept = [(registry, dict(registry)) for registry in registries]
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    yield path
    for registry, before in kept:
        registry.clear()
        registry.update(before)
    modules._LOADED.clear()


def train(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["train", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_file_of_ones_own_gives_a_rule_with_settings_and_a_data_set(own: Path) -> None:
    steps = {}
    for rule, lr, more in (("half-bp", 1, ["--set", "share=0.25"]), ("bp", 0.25, [])):
        out = own.with_name(f"{rule}.h5")
        code, shown = train(
            *("--module", own, "--rule", rule, *more, "--dataset", "corners", "--sizes", "4-3-2"),
            *("--epochs", 1, "--batch-size", 4, "--optimizer", "sgd", "--lr", lr, "-o", out),
        )
        assert code == 0, shown
        steps[rule] = records.read(out).array("network/W1")
    # The step is a quarter of that of backpropagation.
    assert steps["half-bp"] == pytest.approx(steps["bp"], rel=1e-12)
    record = records.read(own.with_name("half-bp.h5"))
    assert record.text("module") == OWN
    assert '"share": 0.25' in record.text("settings")


def test_resuming_with_another_file_is_refused(own: Path) -> None:
    out = own.with_suffix(".h5")
    said = ["--rule", "half-bp", "--dataset", "corners", "--sizes", "4-3-2", "-o", out]
    assert train("--module", own, *said, "--epochs", "1")[0] == 0
    modules._LOADED.clear()
    del RULES["half-bp"], DATASETS["corners"]
    own.write_text(OWN + "# the same")
    code, shown = train("--module", own, *said, "--epochs", "2", "--resume")
    assert code == 2
    assert "was trained with module = " in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = nothing\n", r"mine.py, line 2: NameError: name 'nothing' is not defined"),
        ("def f(:\n", r"mine.py, line 1: SyntaxError"),
        ("x = 1\n", r"registers no rule, data set or activation"),
        (OWN.replace("half-bp", "bp"), r"the rule 'bp' is there already; take another name"),
        (OWN.replace("corners", "digits"), r"data set 'digits' is there already"),
    ],
)
def test_a_file_that_is_wrong_is_named_and_leaves_nothing(
    own: Path, text: str, message: str
) -> None:
    own.write_text(text)
    before = dict(RULES), dict(DATASETS)
    with pytest.raises(UserError, match=message):
        load_module(own)
    assert (dict(RULES), dict(DATASETS)) == before
    assert RULES["bp"].rule is Backpropagation


def test_a_file_is_run_once_and_not_when_it_changed(own: Path) -> None:
    assert load_module(own).names == ("half-bp", "corners")
    assert load_module(own) is load_module(own)
    own.write_text(OWN + "\n")
    with pytest.raises(UserError, match="has changed since"):
        load_module(own)
    with pytest.raises(UserError, match="can't be read"):
        load_module(own.with_name("none.py"))


PRESET = """
[card]
title = "mine"
source = "a search"

[experiment]
preset = "mnist"
rule = "dfc"
dataset = "digits"
sizes = [64, 32, 10]

[set]
controller.k_p = 1.5
"sleep.sigma" = 0.02
optimizer.lr = 0.01
"""


def test_a_preset_of_ones_own_changes_what_it_says_of_a_published_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET)
    mine, below = load_preset(str(path)), load_preset("mnist").experiment("dfc")
    made = mine.experiment("dfc")
    assert (mine.title, mine.source, mine.rules) == ("mine", "a search", ("dfc",))
    alpha = below.options["controller"].alpha
    assert made.options["controller"] == PI(k_p=1.5, alpha=alpha)
    assert (made.options["sleep"].sigma, made.options["sleep"].steps) == (0.02, 48)
    assert (made.dataset, made.sizes, made.plan.optimizer.lr) == ("digits", (64, 32, 10), 0.01)
    assert made.plan.epochs == below.plan.epochs
    code, shown = train("--preset", path, "--rule", "dfc", "--list-settings")
    assert code == 0, shown
    assert "0.02" in shown


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("k_p", "kp", r"mine.toml: unknown setting 'controller.kp'.* did you mean controller.k_p"),
        ('preset = "mnist"', 'preset = "mnits"', "unknown preset 'mnits'"),
        ("title", "titel", r"mine.toml: \[card.title\]"),
        ("[set]", "[set", "mine.toml: no preset"),
        ('rule = "dfc"', 'rule = "bp"', "no published settings for the rule 'dfc'"),
    ],
)
def test_a_preset_that_is_wrong_says_where(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_preset(str(path)).experiment("dfc")


def test_a_sequential_becomes_the_network_that_it_is() -> None:
    torch.manual_seed(0)
    first = nn.Linear(6, 5)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(first, nn.Tanh()),
        nn.Linear(5, 4, bias=False),
        nn.Linear(4, 3),
        nn.Sigmoid(),
    ).double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    made = from_sequential(module)
    assert [phi.name for phi in made.activations] == ["tanh", "linear", "sigmoid"]
    torch.testing.assert_close(made(x.flatten(1)), module(x))
    with torch.no_grad():
        made.weights[0].zero_()
    assert float(first.weight.detach().abs().sum()) > 0  # a copy
    assert from_sequential(module.float()).weights[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.GELU()), r"1 \(GELU\): a network here consists of"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2)), r"0 \(Conv2d\)"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), r"1 \(Softmax\): it belongs to the loss"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout()), r"1 \(Dropout\): it belongs to the rule"),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.ReLU()), r"2 \(ReLU\): a second activation"),
        (nn.Sequential(nn.Tanh(), nn.Linear(2, 2)), r"0 \(Tanh\): an activation before"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)), r"2 inputs; 0 \(Linear\) has 3 outputs"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), r"its dtype is torch.float64"),
        (nn.Sequential(), "without an nn.Linear"),
        (nn.Linear(2, 2), "a Linear is no torch.nn.Sequential"),
    ],
)
def test_a_sequential_that_is_no_network_is_refused_by_name(
    module: nn.Sequential, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        from_sequential(module)
