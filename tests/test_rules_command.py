"""`analogdfc rules` says of each registered rule what it needs."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analogdfc.cli import cli
from analogdfc.learning.making import arguments
from analogdfc.onchip.registry import RULES

FACTS = ("family", "feedback", "local_space", "local_time", "equation", "source")


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["rules", *words])


def good(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_all_rules_are_listed_once_and_with_every_fact() -> None:
    listed = {entry.pop("name"): entry for entry in good()}
    assert sorted(listed) == sorted(RULES)
    for name, facts in listed.items():
        assert tuple(facts) == FACTS
        for fact in FACTS:
            assert facts[fact] == getattr(RULES[name], fact)
            assert facts[fact], f"{name} has no {fact}"


def test_the_table_has_a_row_for_each_rule_under_its_family() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    rows = [line.strip("│").split("│") for line in result.stdout.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    named = [row[0] for row in cells if row[0]]
    assert sorted(named) == sorted(RULES)
    family = ""
    for name, about, space, time in cells:
        if about in {info.family for info in RULES.values()}:
            family = about
        if name:
            info = RULES[name]
            assert (family, about) == (info.family, info.equation)
            assert (space, time) == (info.local_space, info.local_time)
    for info in RULES.values():
        assert f"feedback: {info.feedback} " in result.stdout
        assert f" {info.source} " in result.stdout


@pytest.mark.parametrize("family", sorted({info.family for info in RULES.values()}))
def test_a_family_is_listed_alone(family: str) -> None:
    found = [entry["name"] for entry in good("--family", family)]
    assert found == [name for name, info in RULES.items() if info.family == family]


@pytest.mark.parametrize("name", RULES)
def test_one_rule_comes_with_its_docstring_and_its_arguments(name: str) -> None:
    found = good(name)
    kind = RULES[name].rule
    assert found["name"] == name
    assert found["class"].endswith(f".{kind.__name__}")
    first = (inspect.getdoc(kind) or "").splitlines()[0]
    assert found["description"].startswith(first)
    assert "Args:" not in found["description"]
    named = {argument["name"]: argument for argument in found["arguments"]}
    wanted = arguments(kind)
    assert list(named) == [each for each in wanted if each != "network"]
    for each, argument in named.items():
        assert argument["default"] == repr(wanted[each].default)
        assert argument["description"], f"{name}: nothing about {each}"


def test_an_argument_that_is_described_elsewhere_is_described_here() -> None:
    described = {each["name"]: each["description"] for each in good("dtp-drl")["arguments"]}
    assert described["target_stepsize"] == "eta, > 0."  # of TargetRule, which it refers to


def test_one_rule_is_shown_with_the_same_facts() -> None:
    result = run("ddtp-rhl-rec")
    assert result.exit_code == 0, result.output
    info = RULES["ddtp-rhl-rec"]
    for fact in FACTS:
        assert getattr(info, fact) in result.stdout
    assert re.search(r"reconstruction .* None .* the loss that trains the feedback", result.stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dpt"], "unknown learning rule 'dpt'; there are bp, "),
        (["--family", "bp"], "unknown family 'bp'; there are backpropagation, control, "),
        (["bp", "--family", "control"], "--family control: a rule is named already, 'bp'"),
    ],
)
def test_bad_input_is_one_clear_line_with_exit_code_2(words: list[str], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_the_examples_of_the_help_work_as_typed() -> None:
    shown = re.findall(r"^ +analogdfc (rules.*)$", run("--help").stdout, re.MULTILINE)
    assert len(shown) == 3
    for line in shown:
        words = re.findall(r'"[^"]*"|\S+', line)
        result = CliRunner().invoke(cli, [word.strip('"') for word in words])
        assert result.exit_code == 0, result.output
