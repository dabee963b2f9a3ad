"""What a kept result was made with: another program may give another result."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable

__all__ = ["made_with"]

_LIBRARIES = ("numpy", "scipy", "torch")
_SOURCES = (".py", ".lib", ".toml")


@lru_cache(maxsize=1)
def made_with() -> str:
    """Digest of this package's source and cells, and the versions of what computes for it."""
    found = hashlib.sha256()
    for package in ("analogdfc", "analogdfc._circuits"):
        for name, content in _files(resources.files(package), ""):
            found.update(f"{name} {len(content)}\n".encode() + content)
    versions = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    return ", ".join([f"analogdfc {found.hexdigest()[:16]}", *versions])


def _files(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    """Names and contents of the sources in a folder and its folders, sorted."""
    found: list[tuple[str, bytes]] = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        name = f"{above}/{entry.name}"
        if entry.is_dir():
            found += _files(entry, name)
        elif entry.name.endswith(_SOURCES):
            found.append((name, entry.read_bytes()))
    return found
