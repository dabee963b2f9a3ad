"""Where the files of a published data set lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from analogdfc.errors import UserError

VARIABLE = "ANALOGDFC_DATA"


class Published(NamedTuple):
    """A data set that its authors publish as files.

    Attributes:
        title: its name.
        subfolders: folders inside the data folder in which it may lie.
        layouts: complete sets of files; a file is given by the names it may have, best first.
        where: where to get it.
        installed: folders in which a distribution's package puts it.
    """

    title: str
    subfolders: tuple[str, ...]
    layouts: tuple[tuple[tuple[str, ...], ...], ...]
    where: str
    installed: tuple[Path, ...] = ()


def find(published: Published, data: str | os.PathLike[str] | None) -> list[Path]:
    """Find the files of a set: in `data`, in $ANALOGDFC_DATA, then where a package puts them.

    In the first two the set's own subfolder comes before the folder itself. All files are from one
    folder.

    Args:
        published: the set.
        data: a folder to look in first, or None.

    Returns:
        The files of the first complete layout, in its order.

    Raises:
        UserError: `data` or $ANALOGDFC_DATA is not a folder, or no folder holds all files; the
            message has the files, the folders and where to get the set.
    """
    files, folders = _search(published, data)
    if files is None:
        raise UserError(_missing(published, folders))
    return files


def is_found(published: Published, data: str | os.PathLike[str] | None) -> bool:
    """Whether `find` finds the files of a set.

    Args:
        published: the set.
        data: a folder to look in first, or None.

    Raises:
        UserError: `data` or $ANALOGDFC_DATA is not a folder.
    """
    return _search(published, data)[0] is not None


def check_folder(data: str | os.PathLike[str] | None, name: str = "the data folder") -> None:
    """Make sure that a folder that was named is one, even where no set is read from it.

    Args:
        data: the folder; None where none was named.
        name: what it is, for the message.

    Raises:
        UserError: it is not a folder.
    """
    if data is not None and not Path(data).expanduser().is_dir():
        raise UserError(f"{data}: {name} is not a folder")


def _search(
    published: Published, data: str | os.PathLike[str] | None
) -> tuple[list[Path] | None, list[Path]]:
    """The files, None where they aren't all in one folder; and the folders that were looked in."""
    roots = []
    if data is not None:
        roots.append((Path(data).expanduser(), "the data folder"))
    if variable := os.environ.get(VARIABLE):
        roots.append((Path(variable).expanduser(), f"the folder in ${VARIABLE}"))
    for root, name in roots:
        check_folder(root, name)
    folders = [root / sub for root, _ in roots for sub in (*published.subfolders, ".")]
    folders += published.installed
    for folder in folders:
        for layout in published.layouts:
            files = [_first(folder, names) for names in layout]
            present = [file for file in files if file is not None]
            if len(present) == len(layout):
                return present, folders
    return None, folders


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _missing(published: Published, folders: list[Path]) -> str:
    lines = [f"{published.title} was not found. Looked for"]
    lines.append(
        "\nor\n".join(
            "  " + ", ".join(" or ".join(names) for names in layout) for layout in published.layouts
        )
    )
    lines.append("in")
    wanted = [names for layout in published.layouts for names in layout]
    for folder in folders:
        here = [file.name for names in wanted if (file := _first(folder, names))]
        note = f" (only {', '.join(here)})" if here else "" if folder.is_dir() else " (no folder)"
        lines.append(f"  {folder}{note}")
    if not folders:
        lines.append("  no folder, as none was given")
    lines.append(f"Give its folder as `data` or in ${VARIABLE}. {published.where}")
    return "\n".join(lines)
