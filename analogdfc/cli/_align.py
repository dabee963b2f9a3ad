"""What `align` measures rules on, and what it prints and records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from analogdfc import records
from analogdfc.cli._console import make_console
from analogdfc.datasets import Dataset
from analogdfc.experiments.rule_alignment import WHOLE, RuleAlignment
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import LearningRule
from analogdfc.learning.base import LearnsFeedback
from analogdfc.network import Network
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.records import Quantity
from analogdfc.storage import Model, network_tree
from analogdfc.training import REFERENCES, Task

_LEGEND = """\
Angles of the weight updates, of all layers together, in degrees; 90 is no relation, above it the
rule undoes what the reference does. BP: negative gradient. GN: Gauss-Newton of each sample.
MN: least change of all potentials; MN-D: the same for rules that compare activations.
GNT: Gauss-Newton targets. null space: share of the layers' updates that moves no output of the
batch. output: angle of the outputs' move to the negative gradient of the loss, mean."""


class Setting(NamedTuple):
    """What the rules are measured on.

    Attributes:
        network: the network.
        model: with its control loop, where it comes from a file.
        origin: what it is, for people.
        task: what it is measured on.
        data: the data set.
        chosen: which of its samples to learn from make the batch, (samples,).
        seed: seed of each rule's feedback and noise, the same for all.
        chip: for rules that learn through one.
    """

    network: Network
    model: Model | None
    origin: str
    task: Task
    data: Dataset
    chosen: Tensor
    seed: int
    chip: ChipSubstrate


def feedback(rule: LearningRule, name: str, setting: Setting, epochs: int) -> str:
    """Where the feedback of a rule comes from, for people; empty for a rule without.

    Args:
        rule: the rule, before its feedback learns.
        name: its name.
        setting: where a file holds other feedback, that is said.
        epochs: of feedback learning that follow.
    """
    start = _start(rule, name, setting)
    learned = epochs and isinstance(rule, LearnsFeedback)
    return f"{start}; then learned for {epochs} epochs" if learned else start


def _start(rule: LearningRule, name: str, setting: Setting) -> str:
    model, loop = setting.model, rule.control_loop()
    if loop is None and rule.feedback is None:
        return ""
    file = setting.origin.removeprefix("weights of ")
    if model is not None and (
        not model.assumed if loop is not None else model.rule == name and model.pathway is not None
    ):
        return f"that of {file}"
    if loop is not None:
        fixed = DirectFeedback.transposed(setting.network).state_dict()
        same = all(torch.equal(q, fixed[k]) for k, q in loop.feedback.state_dict().items())
        start = "product of the transposed weights" if same else "random"
    else:
        drawn = type(rule).random_feedback(setting.network, torch.Generator())
        start = "transposed weights" if drawn is None else "random"
    if model is None:
        return start
    if model.pathway is None and model.assumed:
        return f"{start}; {file} holds none"
    return f"{start}; {file} holds that of {model.rule or 'a control loop'}"


def numbers(found: RuleAlignment) -> dict[str, Any]:
    """A measurement for JSON; what there isn't is null."""
    return {
        "references": {
            name: {
                **({"damping": found.dampings[name]} if name in found.dampings else {}),
                "angle_degree": {n: _known(a.angle) for n, a in layers.items()},
                "norm_ratio": {n: _known(a.norm_ratio) for n, a in layers.items()},
            }
            for name, layers in found.alignments.items()
        },
        "null_space_percent": {n: _known(100 * s) for n, s in found.null_space.items()},
        "output_angle_degree": _known(found.output_angle),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tree(
    about: Mapping[str, Any],
    setting: Setting,
    found: Mapping[str, RuleAlignment],
    said: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The record: numbers of a layer in the order of 'layers', the whole network last.

    `said` has what there is to say of each rule, by its name: 'feedback' and 'notes'.
    """
    results: dict[str, Any] = {}
    for rule, measured in found.items():
        results[rule] = {
            "null_space": Quantity(
                [*measured.null_space.values()],
                "1",
                "share of the update that doesn't change the outputs to first order",
                ("layer",),
            ),
            "output_angle": Quantity(
                measured.output_angle,
                "degree",
                "of the outputs' first-order move to minus the gradient of the loss, mean",
            ),
            **{key: told for key, told in said[rule].items() if told},
        }
        for name, layers in measured.alignments.items():
            results[rule][name] = {
                "angle": Quantity(
                    [a.angle for a in layers.values()],
                    "degree",
                    f"of the update to that by {name}",
                    ("layer",),
                ),
                "norm_ratio": Quantity(
                    [a.norm_ratio for a in layers.values()],
                    "1",
                    f"length of the update over that by {name}",
                    ("layer",),
                ),
                **({"damping": measured.dampings[name]} if name in measured.dampings else {}),
            }
    return {
        "kind": "align",
        "settings": {name: value for name, value in about.items() if name != "network"},
        "provenance": records.provenance(),
        "network": network_tree(setting.network),
        "batch": Quantity(
            setting.chosen.numpy(), "1", "numbers of the samples to learn from", ("sample",)
        ),
        "layers": [*map(str, range(1, setting.network.depth + 1)), WHOLE],
        "references": [f"{name}: {text}" for name, text in REFERENCES.items()],
        "results": results,
    }


def show(
    title: str,
    found: Mapping[str, RuleAlignment],
    said: Mapping[str, Mapping[str, Any]],
    *,
    several: bool,
) -> None:
    """Print what the rules worked with, a table of the whole network and one of its layers."""
    console = make_console()
    starts = {rule: told["feedback"] for rule, told in said.items() if told["feedback"]}
    lines = [title]
    for start in dict.fromkeys(starts.values()):
        lines.append(f"feedback of {', '.join(r for r in starts if starts[r] == start)}: {start}")
    lines += [f"Warning: {rule}: {note}" for rule, told in said.items() for note in told["notes"]]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    whole = _table("rule")
    whole.add_column("output\n(deg)", justify="right")
    for rule, measured in found.items():
        whole.add_row(rule, *_cells(measured, WHOLE, several=several), _text(measured.output_angle))
    console.print(whole)
    console.print(_LEGEND, style="dim", highlight=False, soft_wrap=True)
    if several:
        console.print("In brackets: the damping that fits best.", style="dim", highlight=False)
    layers = _table("rule", "layer")
    for rule, measured in found.items():
        for k, layer in enumerate(list(measured.null_space)[:-1]):
            layers.add_row("" if k else rule, layer, *_cells(measured, layer, several=False))
        layers.add_section()
    console.print(layers)


def _table(*first: str) -> Table:
    table = Table()
    for name in first:
        table.add_column(name, no_wrap=True)
    for name in REFERENCES:
        table.add_column(f"{name}\n(deg)", justify="right")
    table.add_column("null space\n(%)", justify="right")
    return table


def _cells(found: RuleAlignment, layer: str, *, several: bool) -> list[str]:
    """Angles to the references, and the share in the null space."""
    out = []
    for name, layers in found.alignments.items():
        text = _text(layers[layer].angle)
        shown = several and text and name in found.dampings
        out.append(f"{text} ({found.dampings[name]:g})" if shown else text)
    return [*out, _text(100 * found.null_space[layer])]


def _text(value: float) -> str:
    """One digit after the point; nothing where there is no number."""
    return "" if math.isnan(value) else f"{value:.1f}"
