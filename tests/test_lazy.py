"""The public names, and what it costs to import them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import analogdfc
from analogdfc.cli import COMMANDS
from analogdfc.lazy import hand_out

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "scipy", "sklearn", "matplotlib", "optuna", "h5py", "pydantic", "pint")
LAZY = [
    ".".join(path.relative_to(ROOT).parent.parts)
    for path in sorted((ROOT / "analogdfc").rglob("__init__.py"))
    if "hand_out(" in path.read_text("utf-8")
]


def imported(code: str, *names: str) -> set[str]:
    """Which of the names are imported by a fresh interpreter that runs the code."""
    script = f"{code}\nimport sys\nprint(*(set({names}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return set(done.stdout.splitlines()[-1].split())


def for_types(tree: ast.Module) -> dict[str, str]:
    """The names that only a type checker imports, and their modules."""
    return {
        alias.asname or alias.name: str(node.module)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def handed_out(tree: ast.Module) -> dict[str, str]:
    """The names in the table that `hand_out` is given, and their modules."""
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hand_out"
    )
    return {name: module for module, names in ast.literal_eval(call.args[1]).items()
            for name in names}  # fmt: skip


@pytest.mark.parametrize("package", LAZY)
def test_a_package_hands_out_what_it_says_to_people_and_type_checkers(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    table = handed_out(tree)
    assert table == for_types(tree)
    assert sorted({*table} | ({"__version__"} & {*module.__all__})) == sorted(module.__all__)
    for name, place in table.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name)
        assert name in vars(module), "kept, so that it is looked up once"
    assert {*module.__all__} <= {*dir(module)}


@pytest.mark.parametrize("package", LAZY)
def test_no_name_is_that_of_a_module_beside_it(package: str) -> None:
    # Importing the module would put it in the name's place.
    folder = Path(str(importlib.import_module(package).__file__)).parent
    modules = {p.stem for p in folder.glob("*.py")} | {
        p.parent.name for p in folder.glob("*/__init__.py")
    }
    assert not modules & {*importlib.import_module(package).__all__}


def test_an_unknown_name_is_an_attribute_error() -> None:
    wrong = "Nettwork"
    with pytest.raises(AttributeError, match="module 'analogdfc' has no attribute 'Nettwork'"):
        getattr(analogdfc, wrong)
    get, names = hand_out("analogdfc", {"analogdfc.errors": ("UserError",)})
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        get("nothing")
    assert "UserError" in names()


def test_importing_the_package_imports_nothing_else() -> None:
    assert not imported("import analogdfc", *HEAVY, "numpy", "click")
    assert "torch" in imported("from analogdfc import Network", *HEAVY)
    assert not imported("from analogdfc import UserError", *HEAVY)


@pytest.mark.parametrize("room", [name for name in LAZY if name != "analogdfc"])
def test_rooms_that_hand_out_lazily_are_light(room: str) -> None:
    assert not imported(f"import {room}", *HEAVY)


def test_help_lists_the_commands_without_what_they_need() -> None:
    code = "from analogdfc.cli import cli\ncli(['--help'], standalone_mode=False)"
    assert not imported(code, *HEAVY, "numpy", *(f"analogdfc.cli.{name}" for name in COMMANDS))


def test_a_netlist_is_written_without_what_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "from analogdfc.cli import cli\n"
        f"cli(['netlist', '--sizes', '3-4-2', '-o', {str(tmp_path)!r}], standalone_mode=False)"
    )
    needless = (*HEAVY, "PySpice", "scipy.optimize", "scipy.interpolate", "scipy.stats",
                "analogdfc.learning", "analogdfc.training", "analogdfc.sizing")  # fmt: skip
    assert imported(code, *needless) == {"torch", "scipy", "pydantic", "h5py"}
    assert (tmp_path / "circuit.cir").exists()
