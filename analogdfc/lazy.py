"""Names that a package hands out, imported when one is first asked for (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["hand_out"]


def hand_out(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    A package that uses them is imported at once, whatever its modules need. It writes its names
    down twice more, in `__all__` and as imports that only a type checker follows, so that editors
    and mypy know them; a test holds the three together.

    Args:
        package: its `__name__`.
        names: the names to hand out, by the module that has them.

    Returns:
        `__getattr__`, which imports a name and keeps it, and `__dir__`.
    """
    places = {name: module for module, taken in names.items() for name in taken}

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        value = getattr(importlib.import_module(places[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names_of_package() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return get, names_of_package
