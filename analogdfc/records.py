"""Records: the HDF5 files that every computing command writes and the next one reads.

A record is a tree. Its branches are HDF5 groups; its leaves are arrays (HDF5 datasets, with their
unit as the attribute `units`) and single texts and numbers (attributes of their group):

    {"seed": 7, "card": "[card] ...", "ideal": {"t": Quantity(t, "s"), "v1": Quantity(v1, "V")}}

A file is written under a temporary name and renamed when it is whole, so there is never half a
record, and an old one stays as it was until the new one takes its place. The same tree gives the
same bytes: nothing in the file depends on when or where it was written.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import platform
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from analogdfc import __version__
from analogdfc.errors import UserError

__all__ = [
    "Branch",
    "Leaf",
    "Quantity",
    "Record",
    "Scalar",
    "Tree",
    "check_writable",
    "provenance",
    "read",
    "write",
]

_MAX_DEPTH = 32
# The file format is fixed, so that another version of the library writes the same bytes; this one
# is read by HDF5 1.8 and later and has no limit of 64 KiB on a text.
_FORMAT = ("v108", "v108")


@dataclass(frozen=True, eq=False)
class Quantity:
    """An array with its unit.

    Args:
        values: of any shape; booleans, integers, real or complex numbers.
        units: the SI unit as text (`"V"`, `"V/s"`); `"1"` for a dimensionless quantity.
        description: one line that says what it is; may be empty.
    """

    values: NDArray[Any]
    units: str
    description: str = ""

    def __init__(self, values: ArrayLike, units: str, description: str = "") -> None:
        object.__setattr__(self, "values", np.asarray(values))
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "description", description)


Scalar = str | bool | int | float | complex
Leaf = Quantity | NDArray[Any] | Sequence[str] | Scalar
Tree = Mapping[str, "Leaf | Tree"]
Branch = dict[str, "Quantity | NDArray[Any] | Scalar | Branch"]


@dataclass(frozen=True, eq=False)
class Record:
    """What a file holds, read into memory.

    A key is the path of names down the tree, `"ideal/v1"`. Each accessor raises `UserError` with
    the file and the key when the key is missing or holds something else.

    Args:
        path: the file, for messages.
        tree: nested dictionaries; a dataset with a unit is a `Quantity`, one without an array.
    """

    path: Path
    tree: Branch = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        try:
            self[key]
        except UserError:
            return False
        return True

    def __getitem__(self, key: str) -> Quantity | NDArray[Any] | Scalar | Branch:
        node: Quantity | NDArray[Any] | Scalar | Branch = self.tree
        names = key.split("/")
        for depth, name in enumerate(names):
            there = node if isinstance(node, dict) else {}
            if name not in there:
                where = "/".join(names[:depth])
                raise UserError(_missing(self.path, key, name, where, sorted(there)))
            node = there[name]
        return node

    def group(self, key: str) -> Branch:
        """The branch at `key`.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if not isinstance(node, dict):
            raise UserError(f"{self.path}: '{key}' must be a group")
        return node

    def text(self, key: str) -> str:
        """The text at `key`.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if not isinstance(node, str):
            raise UserError(f"{self.path}: '{key}' must be a text")
        return node

    def number(self, key: str) -> float:
        """The real number at `key`, without its unit where it has one.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        values = node.values if isinstance(node, Quantity) else node
        if isinstance(values, np.ndarray) and values.ndim == 0:
            node = values.item()
        if isinstance(node, bool) or not isinstance(node, int | float):
            raise UserError(f"{self.path}: '{key}' must be a number")
        return node

    def integer(self, key: str) -> int:
        """The integer at `key`, for example a seed.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if isinstance(node, bool) or not isinstance(node, int):
            raise UserError(f"{self.path}: '{key}' must be an integer")
        return node

    def array(
        self,
        key: str,
        *,
        shape: Sequence[int | None] | None = None,
        units: str | None = None,
        finite: bool = True,
    ) -> NDArray[Any]:
        """The array of numbers at `key`.

        Args:
            key: path of the dataset.
            shape: what the shape must be, `None` for a length that may be any; unchecked without.
            units: what the unit must be; unchecked without.
            finite: refuse infinite numbers and NaN.

        Returns:
            The values, without their unit.

        Raises:
            UserError: the key is missing, holds something else than numbers, a number that isn't
                finite, or has another shape or unit.
        """
        node = self[key]
        values = node.values if isinstance(node, Quantity) else node
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc":
            raise UserError(f"{self.path}: '{key}' must be an array of numbers")
        if shape is not None and not _has_shape(values, shape):
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            found = " x ".join(map(str, values.shape)) or "a single number"
            raise UserError(f"{self.path}: '{key}' has the shape {found}; it must be {wanted}")
        found = node.units if isinstance(node, Quantity) else ""
        if units is not None and found != units:
            raise UserError(f"{self.path}: '{key}' is in '{found}'; it must be in '{units}'")
        if finite and not np.isfinite(values).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise UserError(
                f"{self.path}: '{key}' holds {values[index]} at index {index}; "
                "all numbers must be finite"
            )
        return values


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
        ValueError: a name with a slash or a text with a null character; names the key.
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
            must not replace: a directory, a device, a file that isn't HDF5 or is write-protected.
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


def read(path: str | os.PathLike[str]) -> Record:
    """Read a whole record into memory.

    Args:
        path: an HDF5 file, written by `write` or by another program.

    Returns:
        The record; nothing in it is tied to the file any more.

    Raises:
        UserError: there is no such file, it isn't HDF5, it is damaged, or it holds something that
            a record can't (references, compound types, nothing but texts and numbers is read).
    """
    path = Path(path)
    try:
        with path.open("rb"):
            pass
        if not h5py.is_hdf5(path):
            raise UserError(f"{path}: not an HDF5 file")
        with h5py.File(path, "r") as file:
            return Record(path, _read_group(path, file, 0))
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a directory; an HDF5 file is needed") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, RuntimeError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: the HDF5 file is damaged: {error}") from error


def provenance(argv: Sequence[str] | None = None) -> dict[str, str]:
    """What made a record: the versions that decide over its numbers, and the command line.

    Args:
        argv: the command line, program first; that of this process without.

    Returns:
        Texts under `analogdfc`, `python`, `numpy`, `torch` and `command`.
    """
    program, *arguments = sys.argv if argv is None else argv
    return {
        "analogdfc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": metadata.version("torch"),  # not torch.__version__: importing it takes seconds
        # Where the program is installed says nothing about the numbers.
        "command": shlex.join([Path(program).name, *arguments]),
    }


def _image(tree: Tree) -> bytes:
    """The bytes of the file. Made in memory, so that a full disk is an ordinary error."""
    with h5py.File("record", "w", driver="core", backing_store=False, libver=_FORMAT) as file:
        _write_group(file, tree, "")
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _write_group(group: h5py.Group, tree: Tree, where: str) -> None:
    for name, leaf in tree.items():
        key = f"{where}{name}"
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"'{key}': a name is a text without '/'")
        if isinstance(leaf, Mapping):
            _write_group(group.create_group(name), leaf, f"{key}/")
        elif isinstance(leaf, Quantity):
            dataset = group.create_dataset(name, data=_array(leaf.values, key))
            dataset.attrs["units"] = _encoded(leaf.units, key)
            if leaf.description:
                dataset.attrs["description"] = _encoded(leaf.description, key)
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


def _encoded(text: ArrayLike, key: str) -> NDArray[Any]:
    """Text as UTF-8 of fixed length, the one kind of text that numpy holds without objects."""
    # numpy drops null characters at the end without a word, so the texts themselves are asked.
    texts = text if isinstance(text, list | tuple) else np.asarray(text).ravel().tolist()
    if any("\0" in item for item in ([text] if isinstance(text, str) else texts)):
        raise ValueError(f"'{key}' holds a null character")
    raw = np.char.encode(np.asarray(text, dtype=np.str_), "utf-8")
    return raw.astype(h5py.string_dtype("utf-8", max(raw.dtype.itemsize, 1)))


def _read_group(path: Path, group: h5py.Group, depth: int) -> Branch:
    if depth > _MAX_DEPTH:
        raise UserError(f"{path}: '{group.name}': groups are nested deeper than {_MAX_DEPTH}")
    branch: Branch = {name: _plain(path, name, value) for name, value in _attributes(path, group)}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{path}: '{name}' is a link to somewhere else; it must be in the file")
        node = group[name]
        if isinstance(node, h5py.Group):
            branch[name] = _read_group(path, node, depth + 1)
        elif isinstance(node, h5py.Dataset):
            branch[name] = _read_dataset(path, node)
        else:
            raise UserError(f"{path}: '{node.name}' is neither a group nor a dataset")
    return branch


def _read_dataset(path: Path, dataset: h5py.Dataset) -> Quantity | NDArray[Any] | str:
    key = dataset.name.lstrip("/")
    if dataset.shape is None:
        raise UserError(f"{path}: '{key}' is empty")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        texts = np.asarray(dataset.asstr()[()], dtype=np.str_)
        return texts if texts.ndim else str(texts)
    _check_kind(path, key, dataset.dtype)
    values = np.asarray(dataset[()])
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # torch takes no other
    attributes = dict(_attributes(path, dataset))
    if "units" not in attributes:
        return values
    units, description = (
        _plain(path, f"{key}@{name}", attributes.get(name, "")) for name in ("units", "description")
    )
    return Quantity(values, str(units), str(description))


def _attributes(path: Path, node: h5py.Group | h5py.Dataset) -> Iterator[tuple[str, Any]]:
    for name in node.attrs:
        kind = node.attrs.get_id(name).dtype
        if h5py.check_string_dtype(kind) is None:
            _check_kind(path, f"{node.name}@{name}".lstrip("/"), kind)
        yield name, node.attrs[name]


def _plain(path: Path, key: str, value: Any) -> NDArray[Any] | Scalar:
    """An attribute as a plain Python value; an array of them stays an array."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        decoded = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in value.ravel()]
        return np.array(decoded, dtype=np.str_).reshape(value.shape)
    if not isinstance(value, str | bool | int | float | complex | np.ndarray):
        raise UserError(f"{path}: '{key}' must be a text or a number")
    return value


def _check_kind(path: Path, key: str, kind: np.dtype[Any]) -> None:
    if kind.kind not in "biufc":
        raise UserError(f"{path}: '{key}' is of the type {kind}; it must be a text or numbers")


def _check_replaceable(path: Path, target: Path) -> None:
    """Refuse to replace what is not a record: a slip of the hand must not cost another file."""
    if not target.is_file():
        raise UserError(_unwritable(path, "is not an ordinary file"))
    if not os.access(target, os.W_OK):
        raise UserError(_unwritable(path, "the existing file is write-protected"))
    if target.stat().st_size and not h5py.is_hdf5(target):
        raise UserError(_unwritable(path, "the existing file is not HDF5 and would be lost"))


def _unwritable(path: Path, why: str) -> str:
    return (
        f"{path}: cannot be written: {why}; "
        "allowed is a new file or an existing HDF5 file, in an existing, writable directory"
    )


def _missing(path: Path, key: str, name: str, where: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(names) or 'nothing'}"
    place = f" in '{where}'" if where else ""
    return f"{path}: missing key '{key}'; no '{name}'{place}; {hint}"


def _has_shape(values: NDArray[Any], shape: Sequence[int | None]) -> bool:
    return len(values.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(values.shape, shape, strict=True)
    )


def _temporary(target: Path) -> Path:
    """A name beside the target, on the same file system, that nobody else uses."""
    return target.with_name(f".{secrets.token_hex(8)}.part")
