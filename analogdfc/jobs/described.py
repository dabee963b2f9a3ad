"""Values as plain data: a JSON text and arrays, from which only this package's classes are made.

What many machines share in a folder is read by programs that didn't write it, so nothing there is
unpickled. A value becomes numbers, texts, arrays (`.npy`), and names of classes with what they are
made of; whoever reads it makes classes of known packages alone, by their constructors.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from analogdfc.errors import UserError
from analogdfc.files import write_whole
from analogdfc.jobs.task import Shared

__all__ = ["PACKAGES", "Store", "described", "made"]

PACKAGES = {"analogdfc"}
"""Packages whose classes a description may name; whoever has runs of their own adds theirs."""

_PLAIN = (type(None), bool, int, float, str)


class Store:
    """A folder of values by the digest of their content; what is there is never altered.

    Args:
        folder: it needn't exist; its parent does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes, ending: str) -> str:
        """Write a content, unless it is there.

        Args:
            content: what to write.
            ending: of the file's name, such as '.npy'.

        Returns:
            The file's name.

        Raises:
            OSError: it can't be written.
        """
        name = hashlib.sha256(content).hexdigest()[:32] + ending
        if not (self.folder / name).exists():
            self.folder.mkdir(exist_ok=True)
            write_whole(self.folder / name, content)
        return name

    def get(self, name: str) -> bytes:
        """A content.

        Args:
            name: what `put` gave.

        Raises:
            UserError: it isn't there, or isn't what was put.
        """
        path = self.folder / Path(name).name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: can't be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest()[:32] != path.stem:
            raise UserError(f"{path}: is damaged; delete the folder, and offer the runs again")
        return content


def described(value: object, store: Store) -> Any:
    """A value as what JSON holds; its arrays, and what is `Shared`, go into the store.

    Args:
        value: plain values, containers, arrays, tensors, and instances of dataclasses, named
            tuples, enumerations, cards, of classes that say how they are pickled by a class and its
            arguments, or that hold nothing.
        store: where large parts go.

    Raises:
        TypeError: something else is in it, such as a function; names its type.
        OSError: the store can't be written.
    """
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [described(item, store) for item in value]
    if type(value) in (tuple, set, frozenset):
        items = value if isinstance(value, tuple) else sorted(cast("set[Any]", value))
        return {"is": type(value).__name__, "of": [described(item, store) for item in items]}
    if isinstance(value, Shared):
        content = json.dumps(described(value.value, store)).encode()
        return {"is": "shared", "file": store.put(content, ".json")}
    if isinstance(value, Path):
        return {"is": "path", "text": str(value)}
    return _of_arrays(value, store) or _of_class(value, store)


def _of_arrays(value: object, store: Store) -> dict[str, Any] | None:
    if isinstance(value, np.ndarray | np.generic):
        return {"is": "array", "file": store.put(_npy(np.asarray(value)), ".npy")}
    if type(value).__module__.split(".")[0] == "torch":
        import torch  # not every run needs it

        if isinstance(value, torch.dtype):
            return {"is": "dtype", "name": str(value).removeprefix("torch.")}
        if type(value) is torch.Tensor:
            array = value.detach().cpu().numpy()
            return {"is": "tensor", "file": store.put(_npy(array), ".npy")}
    return None


def _of_class(value: object, store: Store) -> dict[str, Any]:
    kind = type(value)
    if isinstance(value, Mapping):
        pairs = [[described(k, store), described(v, store)] for k, v in value.items()]
        return {"is": "dict", "of": pairs}
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _package(name) not in PACKAGES:
        raise TypeError(f"{name}: can't be described as data")
    if isinstance(value, enum.Enum):
        return {"is": "member", "class": name, "name": value.name}
    if (whole := _reduced(value)) is not None:
        return {"is": "made", "class": whole[0], "of": [described(one, store) for one in whole[1]]}
    if (fields := _fields(value)) is not None:
        return {"is": "object", "class": name, "of": {
            key: described(one, store) for key, one in fields.items()
        }}  # fmt: skip
    if not getattr(value, "__dict__", True):  # nothing but its class, such as a loss
        return {"is": "bare", "class": name}
    raise TypeError(f"{name}: can't be described as data")


def _reduced(value: object) -> tuple[str, Sequence[Any]] | None:
    """Class and arguments by which an instance is pickled; None where its class doesn't tell."""
    if isinstance(value, tuple) or not _tells(type(value)):
        return None
    told = value.__reduce__()
    maker: Any = told[0]
    if not (isinstance(maker, type) and _package(maker.__module__) in PACKAGES):
        return None
    return f"{maker.__module__}:{maker.__qualname__}", list(told[1])


def _tells(kind: type[Any]) -> bool:
    """Whether a class says by itself how it is pickled."""
    return any("__reduce__" in vars(one) for one in kind.__mro__ if one is not object)


def _fields(value: Any) -> dict[str, Any] | None:
    """What an instance is made of by name; None for one of a class that doesn't tell."""
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if hasattr(type(value), "model_fields"):  # a card or a section of one
        return {name: getattr(value, name) for name in sorted(value.model_fields_set)}
    return None


def made(description: Any, store: Store) -> Any:
    """The value of a description.

    Args:
        description: what `described` gave.
        store: what it was given.

    Raises:
        UserError: a class of another package, or what a class refuses to be made of; a part of the
            store that is missing.
    """
    if isinstance(description, _PLAIN):
        return description
    if isinstance(description, list):
        return [made(item, store) for item in description]
    try:
        return _MAKERS[description["is"]](description, store)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise UserError(f"{store.folder.parent}: no description of a run: {error!r}") from error


def _sequence(description: Any, store: Store) -> Any:
    kinds: dict[str, Callable[[Sequence[Any]], Any]] = {
        "tuple": tuple, "set": set, "frozenset": frozenset,
    }  # fmt: skip
    return kinds[description["is"]]([made(item, store) for item in description["of"]])


def _array(description: Any, store: Store) -> Any:
    content = io.BytesIO(store.get(description["file"]))
    array = np.load(content, allow_pickle=False)
    if description["is"] == "array":
        return array
    import torch

    return torch.from_numpy(array)


def _dtype(description: Any, store: Store) -> Any:
    import torch

    found = getattr(torch, description["name"])
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{description['name']} is no type of numbers")
    return found


@lru_cache(maxsize=4)
def _shared(folder: Path, name: str) -> Shared[Any]:
    store = Store(folder)
    return Shared(made(json.loads(store.get(name)), store))


def _object(description: Any, store: Store) -> Any:
    kind: Any = named_class(description["class"])
    fields = {key: made(one, store) for key, one in description["of"].items()}
    if hasattr(kind, "model_fields"):
        return kind.model_construct(_fields_set={*fields}, **fields)
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        raise TypeError(f"{kind} isn't made of fields")
    return kind(**fields)


def _made_by(description: Any, store: Store) -> Any:
    kind = named_class(description["class"])
    if not _tells(kind):
        raise TypeError(f"{kind} doesn't say what it is made of")
    return kind(*(made(one, store) for one in description["of"]))


def _bare(description: Any, store: Store) -> Any:
    found = named_class(description["class"])()
    if getattr(found, "__dict__", True):
        raise TypeError(f"{type(found)} is made of more than its class")
    return found


_MAKERS: dict[str, Callable[[Any, Store], Any]] = {
    **dict.fromkeys(("tuple", "set", "frozenset"), _sequence),
    **dict.fromkeys(("array", "tensor"), _array),
    "dtype": _dtype,
    "shared": lambda d, store: _shared(store.folder, d["file"]),
    "path": lambda d, store: Path(d["text"]),
    "dict": lambda d, store: {made(k, store): made(v, store) for k, v in d["of"]},
    "member": lambda d, store: getattr(named_class(d["class"]), d["name"]),
    "object": _object,
    "made": _made_by,
    "bare": _bare,
}


def named_class(name: str) -> type[Any]:
    """A class of a known package.

    Args:
        name: 'package.module:Class'.

    Raises:
        TypeError: one of another package, or no class.
    """
    module, _, inner = name.partition(":")
    if _package(name) not in PACKAGES:
        raise TypeError(f"{name} isn't of {', '.join(sorted(PACKAGES))}")
    found: Any = importlib.import_module(module)
    for part in inner.split("."):
        found = vars(found)[part]
    if not (isinstance(found, type) and found.__module__ == module):
        raise TypeError(f"{name} is no class of that module")
    return found


def _package(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def _npy(array: Any) -> bytes:
    image = io.BytesIO()
    np.save(image, array, allow_pickle=False)
    return image.getvalue()
