"""Another device than the CPU without one: that of tensors which have no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = "meta"

_COPIES = ("aten::_to_copy", "aten::copy_")


def _on_one_device(_: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> object:
    """Refuses operations between tensors of several devices, as a GPU does; scalars may differ."""
    kwargs = kwargs or {}
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.dim() > 0]
    name = func._schema.name
    devices = {t.device.type for t in given}
    if len(devices) > 1 and name not in _COPIES:
        raise RuntimeError(f"{name}: tensors on {sorted(devices)}")
    place = str(kwargs.get("device"))
    if name == "aten::_to_copy" and DEVICE in devices and place == "cpu":
        return torch.zeros(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
    return func(*args, **kwargs)


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Code runs as it would on another device: all that is asked there holds, and all is 0.

    Args:
        monkeypatch: takes back what is done to tensors.
    """
    for name, answer in (("__bool__", True), ("__float__", 0.0)):
        here = getattr(Tensor, name)
        monkeypatch.setattr(
            Tensor, name, lambda t, here=here, answer=answer: answer if t.is_meta else here(t)
        )
    mode: Any = type("OneDevice", (TorchDispatchMode,), {"__torch_dispatch__": _on_one_device})
    with mode():
        yield
