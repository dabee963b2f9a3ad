"""The circuit is described once: nobody else names its stages or counts its amplifiers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analogdfc.circuit.chip import Chip
from benchmarks._measure import case

PACKAGE = Path(__file__).parents[1] / "analogdfc"
DESCRIPTION = PACKAGE / "circuit" / "description"
STAGES = sorted(Chip.of(case((3, 4, 2), 0, 1).design).circuit.bank)
"""Names of the banks of a circuit, 'layer1.basal' ... 'controller.inv'."""

NAMED = re.compile(
    r"""["'](layer\d*\.)?(basal|soma|act|act_ff|inv|pi)["']|["']controller\."""
    r"""(?!(kind|k_p|k_d|tau_u|alpha)["'])|["']layer\{?\w*\}?\."""
)
"""Constants of a controller are settings of a training and no stages."""
COUNTED = re.compile(r"\b5 \* sum\(|\(2 \+ 3\) \*|\* \(2 \+ 3\)")
STREAMS = {"conductances.py": "names of streams of random numbers"}
"""Modules whose literals look like stages and are none, with what they are."""

MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if DESCRIPTION not in path.parents and path.name not in STREAMS
]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_but_the_description_names_stages_or_counts_amplifiers(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if NAMED.search(line) or COUNTED.search(line)
    ]
    assert not found


def test_the_search_finds_what_it_is_for() -> None:
    for name in STAGES:
        assert NAMED.search(f'"{name}"'), name
    assert NAMED.search("""f"layer{i}.soma" """)
    assert COUNTED.search("return 5 * sum(hidden) + (2 + 3) * output")


def test_the_description_is_where_the_stages_are_named() -> None:
    text = "".join(path.read_text("utf-8") for path in DESCRIPTION.glob("*.py"))
    assert {name.split(".")[1] for name in STAGES} <= set(re.findall(r"\w+", text))
