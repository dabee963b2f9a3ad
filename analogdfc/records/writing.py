"""Records written: whole or not at all, and the same tree as the same bytes."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from analogdfc.errors import UserError
from analogdfc.records.apart import has_signature, seal
from analogdfc.records.reading import is_ours
from analogdfc.records.tree import FORMAT, MARK, Quantity, Tree

__all__ = ["check_writable", "write"]

# The file format is fixed, so that another version of the library writes the same bytes; this one
# is read by HDF5 1.8 and later and has no limit of 64 KiB on a text.
_LIBRARY = ("v108", "v108")


def write(path: str | os.PathLike[str], tree: Tree) -> Path:
    """Write a record; the file appears whole or not at all.

    Args:
        path: the file to write. An existing record is replaced.
        tree: nested mappings. Arrays and sequences of text become datasets, each `Quantity` one
            with its unit; single texts and numbers become attributes.

    Returns:
        The path as it was given.

    Raises:
        UserError: the file can't be written.
        TypeError: a leaf that is none of these, which would need pickling; names the key.
        ValueError: a name with a slash, or a text with a null character or bytes that aren't UTF-8;
            names the key.
    """
    path = Path(path)
    target = check_writable(path)
    image = _image(tree)
    temporary = _temporary(target)
    try:
        with open(temporary, "xb") as file:
            file.write(image)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(_unwritable(path, error.strerror or str(error))) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Make sure that a record can be written; called before long work, not after it.

    Args:
        path: the file that will be written. It needn't exist; its directory must.

    Returns:
        The real path, symbolic links resolved.

    Raises:
        UserError: the directory is missing or not writable, or `path` is something that a record
            must not replace: a directory, a device, a file that is no record or is write-protected.
    """
    path = Path(path)
    try:
        target = path.resolve()
        if target.is_dir():
            raise UserError(_unwritable(path, "is a directory"))
        if not target.parent.is_dir():
            raise UserError(_unwritable(path, f"there is no directory '{path.parent}'"))
        if target.exists():
            _check_replaceable(path, target)
        # Permission bits don't tell everything (read-only and network file systems); trying does.
        probe = _temporary(target)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UserError(_unwritable(path, error.strerror or str(error))) from error
    except (ValueError, RuntimeError) as error:  # a null character; a loop of symbolic links
        raise UserError(_unwritable(path, str(error))) from error
    return target


def _image(tree: Tree) -> bytes:
    """The bytes of the file. Made in memory, so that a full disk is an ordinary error."""
    if MARK in tree:
        raise ValueError(f"'{MARK}': this name is that of the record's format")
    # The library opens no two files of one name, also where both are in memory alone.
    name = secrets.token_hex(8)
    with h5py.File(name, "w", driver="core", backing_store=False, libver=_LIBRARY) as file:
        _write_group(file, {MARK: FORMAT, **tree}, "")
        file.flush()
        image: bytes = file.id.get_file_image()
    return image + seal(image)


def _write_group(group: h5py.Group, tree: Tree, where: str) -> None:
    for name, leaf in tree.items():
        key = f"{where}{name}"
        if name in ("", ".", "..") or "/" in name or "\0" in name or not _is_utf8(name):
            raise ValueError(f"{key!r}: a name is a text without '/'")
        if isinstance(leaf, Mapping):
            _write_group(group.create_group(name), leaf, f"{key}/")
        elif isinstance(leaf, Quantity):
            dataset = group.create_dataset(name, data=_array(leaf.values, key))
            dataset.attrs["units"] = _encoded(leaf.units, key)
            if leaf.description:
                dataset.attrs["description"] = _encoded(leaf.description, key)
            for k, label in enumerate(leaf.dims):
                dataset.dims[k].label = label
        elif isinstance(leaf, str | bool | int | float | complex | np.generic):
            group.attrs[name] = _array(leaf, key)
        else:
            group.create_dataset(name, data=_array(leaf, key))


def _array(values: Any, key: str) -> NDArray[Any]:
    """The array as it is stored; refuses whatever HDF5 could only hold as a Python object."""
    array = np.asarray(values)
    if array.dtype.kind == "U":
        return _encoded(values, key)
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"'{key}' is {type(values).__name__} ({array.dtype}); it must be a Quantity, an array "
            "of numbers, a sequence of texts, a text, a number or a mapping of these"
        )
    return array


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _encoded(text: ArrayLike, key: str) -> NDArray[Any]:
    """Text as UTF-8 of fixed length, the one kind of text that numpy holds without objects."""
    # numpy drops null characters at the end without a word, so the texts themselves are asked.
    texts = text if isinstance(text, list | tuple) else np.asarray(text).ravel().tolist()
    if any("\0" in item for item in ([text] if isinstance(text, str) else texts)):
        raise ValueError(f"'{key}' holds a null character")
    try:
        raw = np.char.encode(np.asarray(text, dtype=np.str_), "utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"'{key}' holds bytes that aren't UTF-8") from error
    return raw.astype(h5py.string_dtype("utf-8", max(raw.dtype.itemsize, 1)))


def _check_replaceable(path: Path, target: Path) -> None:
    """Refuse to replace what is not a record: a slip of the hand must not cost another file."""
    if not target.is_file():
        raise UserError(_unwritable(path, "is not an ordinary file"))
    if not os.access(target, os.W_OK):
        raise UserError(_unwritable(path, "the existing file is write-protected"))
    if not target.stat().st_size:
        return
    if not has_signature(target):
        raise UserError(_unwritable(path, "the existing file is not HDF5 and would be lost"))
    try:
        ours = is_ours(target)
    except UserError as error:
        raise UserError(_unwritable(path, f"the existing file would be lost; {error}")) from error
    if not ours:
        raise UserError(
            _unwritable(path, "the existing file is no record of analogdfc and would be lost")
        )


def _unwritable(path: Path, why: str) -> str:
    return (
        f"{path}: cannot be written: {why}; "
        "allowed is a new file or an existing record, in an existing, writable directory"
    )


def _temporary(target: Path) -> Path:
    """A name beside the target, on the same file system, that nobody else uses."""
    return target.with_name(f".{secrets.token_hex(8)}.part")
