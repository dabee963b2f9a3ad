"""What a kept result was made with: another program may give another result."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable

from analogdfc.errors import UserError

__all__ = ["OtherProgramsError", "check_programs", "made_with"]

_LIBRARIES = ("numpy", "scipy", "torch")
_SOURCES = (".py", ".lib", ".toml")


class OtherProgramsError(UserError):
    """Work that was asked for by other versions than those that are here."""


@lru_cache(maxsize=1)
def made_with() -> str:
    """Digest of this package's source and cells, and the versions of what computes for it."""
    found = hashlib.sha256()
    for package in ("analogdfc", "analogdfc._circuits"):
        for name, content in _files(resources.files(package), ""):
            found.update(f"{name} {len(content)}\n".encode() + content)
    versions = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    return ", ".join([f"analogdfc {found.hexdigest()[:16]}", *versions])


def check_programs(where: object, others: str) -> None:
    """Make sure that what others compute with is here too.

    Args:
        where: who they are, for the message.
        others: what `made_with` says there.

    Raises:
        OtherProgramsError: it isn't; says what differs.
    """
    ours = made_with()
    if others == ours:
        return
    pairs = zip(others.split(", "), ours.split(", "), strict=False)
    differ = [pair for pair in pairs if pair[0] != pair[1]] or [(others, ours)]
    there, here = (", ".join(part) for part in zip(*differ, strict=True))
    raise OtherProgramsError(
        f"{where}: there is {there}; here is {here}. Results would differ: install the same on all "
        "machines"
    )


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
