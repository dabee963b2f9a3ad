"""Another device than the CPU without one: its numbers lie on the CPU, and only there.

PyTorch keeps a place for devices that it doesn't know. Here tensors of that device are wrapped
around others on the CPU, and whatever PyTorch asks of them is computed there, so that all branches
of the code run, and with real numbers. What a GPU refuses is refused: tensors of several devices in
one operation, and NumPy's arrays of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "elsewhere"

DEVICES = [DEVICE, pytest.param("cuda", marks=pytest.mark.cuda)]
"""On which a test of devices runs: the one that is always there, and a GPU where there is one."""

_COPIES = ("aten::_to_copy", "aten::copy_", "aten::_copy_from")

_ASKING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")

# Operations that make a tensor from nothing; all others of their kind are made of these.
_MADE = {
    "empty.memory_format": torch.ops.aten.empty.memory_format,
    "empty_strided": torch.ops.aten.empty_strided.default,
    "eye": torch.ops.aten.eye.default,
    "eye.m": torch.ops.aten.eye.m,
    "arange": torch.ops.aten.arange.default,
    "arange.start": torch.ops.aten.arange.start,
    "arange.start_step": torch.ops.aten.arange.start_step,
    "linspace": torch.ops.aten.linspace.default,
}


class Far(Tensor):
    """A tensor of the other device.

    Attributes:
        near: the same on the CPU.
    """

    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        with torch.inference_mode(False):  # where views of wrapped tensors are tensors like others
            made: Far = Tensor._make_wrapper_subclass(
                cls,
                near.size(),
                strides=near.stride(),
                storage_offset=near.storage_offset(),
                dtype=near.dtype,
                device=torch.device(DEVICE, 0),
            )
        made.near = near
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Far({self.near!r})"

    def tolist(self) -> Any:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _computed(func, args, kwargs or {})


class Source(torch.Generator):
    """A generator that says on which device it is."""

    _place: torch.device

    def __new__(cls, device: torch.device | str = "cpu") -> Source:
        made: Source = super().__new__(cls)
        made._place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._place


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation gives, computed on the CPU; on the device that it would be on."""
    name = func._schema.name
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    far = [t for t in given if isinstance(t, Far)]
    place = kwargs.get("device")
    there = bool(far) if place is None else torch.device(place).type == DEVICE
    if place is not None and there:
        kwargs = {**kwargs, "device": "cpu"}
    if name in _COPIES[1:]:
        there = isinstance(args[0], Far)
    elif name not in _COPIES:
        _check_one_place(name, given, there)
    same = {id(t.near): t for t in far}
    near = tree_map(lambda t: t.near if isinstance(t, Far) else t, (args, kwargs))

    def wrapped(t: Any) -> Any:
        if not (isinstance(t, Tensor) and there):
            return t
        return same[id(t)] if id(t) in same else Far(t)

    with torch.inference_mode(False):
        if Graph.recording is not None:
            if name in _ASKING or (far and not there):
                raise RuntimeError(f"{name}: a graph that is being recorded has no numbers yet")
            Graph.recording.before(func, *near)
        found = func(*near[0], **near[1])
        if Graph.recording is not None:
            Graph.recording.steps.append((func, *near, found))
        return tree_map(wrapped, found)


class Graph:
    """Operations that are recorded once and replayed on the same tensors, as a GPU's graph.

    Recording does no work, and what asks for a number meanwhile is refused.
    """

    recording: ClassVar[Graph | None] = None

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record what is done."""
        Graph.recording = self
        try:
            yield
        finally:
            Graph.recording = None
        for there, before in self._before.values():
            there.copy_(before)

    def before(self, func: Any, args: Any, kwargs: Any) -> None:
        """Keep what an operation is about to write over."""
        for k, argument in enumerate(func._schema.arguments):
            given = args[k] if k < len(args) else kwargs.get(argument.name)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(given, Tensor):
                whole = given.new_empty(0).set_(given.untyped_storage())
                self._before.setdefault(whole.data_ptr(), (whole, whole.clone()))

    def replay(self) -> None:
        """Do it all again."""
        for func, args, kwargs, found in self.steps:
            again = func(*args, **kwargs)
            for new, old in zip(tree_leaves(again), tree_leaves(found), strict=True):
                if isinstance(new, Tensor) and new.data_ptr() != old.data_ptr():
                    old.copy_(new)


def _check_one_place(name: str, given: list[Tensor], there: bool) -> None:
    """Scalars on the CPU may meet tensors of a device, and numbers of the CPU index them."""
    here = [t for t in given if not isinstance(t, Far)]
    if name.startswith("aten::index"):
        here = [t for t in here if t.is_floating_point()]
    if there and any(t.dim() > 0 for t in here):
        raise RuntimeError(f"{name}: tensors on cpu and {DEVICE}")


def _making(func: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: _computed(func, args, {**kwargs, "device": DEVICE})


def _copied(self: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    near = [t.near if isinstance(t, Far) else t for t in (to, self)]
    near[0].copy_(near[1])
    return to


@cache
def known() -> torch.library.Library | None:
    """Make PyTorch know the device: before autograd runs, which counts the devices only once.

    None beside a GPU: PyTorch takes one kind of them for the accelerator.
    """
    if torch.cuda.is_available():
        return None
    _setup_privateuseone_for_python_backend(DEVICE)
    library = torch.library.Library("aten", "IMPL")
    for name, func in _MADE.items():
        library.impl(name, _making(func), "PrivateUse1")
    library.impl("_copy_from", _copied, "PrivateUse1")
    return library


def set_up(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a device usable, which is something for the other one only. A GPU takes its place.

    Args:
        device: its type.
        monkeypatch: takes back that generators of random numbers can be made there, too.
    """
    if device == DEVICE:
        if not known():
            pytest.skip("there is a CUDA device")
        monkeypatch.setattr(torch, "Generator", Source)


def graphs() -> Any:
    """What stands for `torch.cuda` where graphs are captured."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    return SimpleNamespace(
        current_stream=lambda device: stream,
        Stream=lambda device: stream,
        stream=lambda stream: nullcontext(),
        CUDAGraph=Graph,
        graph=lambda graph: graph.record(),
    )
