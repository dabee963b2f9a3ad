"""Rules, data sets and activations of one's own, from a Python file."""

from __future__ import annotations

import hashlib
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, NamedTuple

from analogdfc.activations import ACTIVATIONS
from analogdfc.datasets import DATASETS
from analogdfc.errors import UserError
from analogdfc.learning import RULES

__all__ = ["Module", "load_module"]


class Module(NamedTuple):
    """A file of one's own, as it was run.

    Attributes:
        path: the file.
        text: what is in it.
        sha256: of the text, in hexadecimal.
        names: the rules, data sets and activations that it entered, by their names.
    """

    path: Path
    text: str
    sha256: str
    names: tuple[str, ...]


_REGISTRIES: dict[str, dict[str, Any]] = {
    "rule": RULES,
    "data set": DATASETS,
    "activation": ACTIVATIONS,
}
_LOADED: dict[Path, Module] = {}


def load_module(path: Path) -> Module:
    """Run a Python file, so that what it registers can be had by its name.

    It registers rules by `analogdfc.register`, data sets by `analogdfc.datasets.register_dataset`
    and activations by `analogdfc.activations.register_activation`. It is run once a process.

    Args:
        path: the file. It is run with all that it does: it must be one's own.

    Raises:
        UserError: no such file, an error in it (with its line), a name that is there already, or
            nothing registered.
    """
    place = path.resolve()
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read as a Python file: {error}") from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    if (known := _LOADED.get(place)) is not None and known.sha256 == digest:
        return known
    if known is not None:
        raise UserError(f"{path}: was run already, and has changed since; start anew")
    before = {what: dict(registry) for what, registry in _REGISTRIES.items()}
    try:
        _run(path, place)
        names = _entered(path, before)
    except BaseException:
        for what, registry in _REGISTRIES.items():
            registry.clear()
            registry.update(before[what])
        raise
    _LOADED[place] = Module(path, text, digest, names)
    return _LOADED[place]


def _run(path: Path, place: Path) -> None:
    """Run the file as a module, with those beside it in reach."""
    name = f"analogdfc_module_{place.stem}"
    loader = SourceFileLoader(name, str(place))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.path.insert(0, str(place.parent))
    sys.modules[name] = module  # classes look up the names of their types there
    try:
        loader.exec_module(module)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        raise UserError(f"{path}{_line(error, place)}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(place.parent))


def _line(error: Exception, place: Path) -> str:
    """Where in the file an error was, for people; empty where it isn't known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(place)]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
    return "" if line is None else f", line {line}"


def _entered(path: Path, before: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """Names of what is new.

    Raises:
        UserError: a name that was there before, or nothing new.
    """
    names: list[str] = []
    for what, registry in _REGISTRIES.items():
        for name, entry in registry.items():
            if name not in before[what]:
                names.append(name)
            elif entry is not before[what][name]:
                raise UserError(f"{path}: the {what} {name!r} is there already; take another name")
    if not names:
        raise UserError(
            f"{path}: registers no rule, data set or activation; a rule is a class below "
            "@analogdfc.register(...), a data set is entered by register_dataset(...)"
        )
    return tuple(names)
