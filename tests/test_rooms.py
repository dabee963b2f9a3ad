"""The package's rooms, read from its sources: who imports whom, and how large each is."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room may use those above it in this list and no other.
ORDER = [
    "lazy", "errors", "samples", "drawing", "tables",
    "states", "memory", "scratch", "files", "records", "trees", "jobs",
    "losses",
    "products", "activations", "network", "feedback", "controller", "storage", "importing",
    "dynamics", "measures", "learning", "datasets", "training", "tuning", "presets", "cases",
    "devices", "cards", "wires", "arrays", "kits",
    "updating", "circuit", "analysis", "comparison", "recorded", "findings", "spice", "schematics",
    "effort", "study",
    "verdicts", "plots", "inverting",
    "digital", "cost", "onchip", "sleeping", "sizing", "montecarlo", "stability", "characterise",
    "experiments", "reproduction", "searching",
    "cli", "__main__",
]  # fmt: skip
LARGEST = 0.105
"""Part of the package's lines that no room exceeds."""
GONE = ("hardware", "estimation", "theory")


def sources() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for path in sorted((ROOT / "analogdfc").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = sources()
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def room(module: str) -> str:
    """The room of a module; none for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imports(module: str, *, for_types: bool) -> Iterator[tuple[str, str]]:
    """Modules that one imports, anywhere in it, and the name that it takes from there.

    Args:
        module: its name.
        for_types: those that only a type checker sees too.
    """
    hidden: set[ast.AST] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            hidden.update(inner for part in node.body for inner in ast.walk(part))
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in MODULES:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if whole in MODULES else (str(node.module), alias.name)


def modules_below() -> dict[str, set[str]]:
    """What each module imports when the program runs."""
    return {m: {other for other, _ in imports(m, for_types=False)} - {m} for m in MODULES}


def rooms_below() -> dict[str, dict[str, str]]:
    """Rooms that each room names, in types too, with one module of it that does."""
    found: dict[str, dict[str, str]] = {}
    for module in MODULES:
        here = found.setdefault(room(module), {})
        for other, _ in imports(module, for_types=True):
            if room(other) != room(module):
                here.setdefault(room(other), f"{module} imports {other}")
    return found


def sizes() -> dict[str, int]:
    """Lines of each room, the largest first."""
    lines: Counter[str] = Counter()
    for module, path in MODULES.items():
        lines[room(module)] += len(path.read_text("utf-8").splitlines())
    return dict(lines.most_common())


def test_no_module_imports_itself_in_a_circle() -> None:
    try:
        TopologicalSorter(modules_below()).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_rooms_use_those_below_them_only() -> None:
    place = {name: k for k, name in enumerate(ORDER)}
    upwards = [
        how
        for above, used in rooms_below().items()
        for below, how in used.items()
        if above and below and place.get(below, -1) >= place.get(above, len(ORDER))
    ]
    assert not upwards, "\n".join(upwards)


def test_every_room_has_its_place_in_the_order() -> None:
    assert sorted(filter(None, sizes())) == sorted(ORDER)


def test_no_room_takes_public_names_from_the_package_itself() -> None:
    taken = [
        f"{module} takes {name}"
        for module in MODULES
        for other, name in imports(module, for_types=True)
        if other == "analogdfc" and name != "__version__"
    ]
    assert not taken


def test_no_room_is_over_its_part_of_the_whole() -> None:
    lines = sizes()
    whole = sum(lines.values())
    table = "\n".join(f"{n or '(package)':12} {k:6} {k / whole:6.1%}" for n, k in lines.items())
    print(table)
    assert max(lines.values()) <= LARGEST * whole, table


def test_rooms_that_were_taken_apart_are_named_nowhere() -> None:
    old = re.compile(rf"analogdfc[./]({'|'.join(GONE)})\b|`({'|'.join(GONE)})`")
    files = [ROOT / "README.md", ROOT / "setup.cfg"]
    for folder in ("analogdfc", "benchmarks", "circuits", "netlists", "calibration", "scripts"):
        files += [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".md", ".toml")]
    assert not [str(path) for path in files if old.search(path.read_text("utf-8"))]
    assert not [name for name in GONE if (ROOT / "analogdfc" / name / "__init__.py").exists()]


def test_a_circle_and_a_hidden_import_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def late():\n    from analogdfc.cli import main\n    return main\n"
    monkeypatch.setitem(TREES, "analogdfc.errors", ast.parse(code))
    with pytest.raises(pytest.fail.Exception, match=r"analogdfc\.errors imports|imports analogdfc"):
        test_no_module_imports_itself_in_a_circle()
    with pytest.raises(AssertionError, match=r"analogdfc\.errors imports analogdfc\.cli"):
        test_rooms_use_those_below_them_only()
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import analogdfc.cli\n"
    monkeypatch.setitem(TREES, "analogdfc.errors", ast.parse(hidden))
    test_no_module_imports_itself_in_a_circle()
    with pytest.raises(AssertionError, match=r"analogdfc\.errors imports analogdfc\.cli"):
        test_rooms_use_those_below_them_only()


def test_the_library_speaks_of_arguments_and_not_of_options() -> None:
    spoken = [
        f"{name}, line {node.lineno}: {node.value.strip()}"
        for name, tree in TREES.items()
        if room(name) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(r"\s--[a-z]|^--[a-z-]+[\s:]", node.value)
        if not node.value.startswith("pip ")  # another program's
    ]
    assert not spoken


def test_commands_take_typed_options() -> None:
    open_ended = [
        f"{name}, line {node.lineno}: {node.name}"
        for name, tree in TREES.items()
        if room(name) == "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None
    ]
    # What click hands over is taken apart in one place, which makes dataclasses of it.
    assert [place.partition(",")[0] for place in open_ended] == ["analogdfc.cli._options"]
