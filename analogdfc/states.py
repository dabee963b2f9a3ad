"""States: what goes on from one step of a training to the next, to be taken up exactly.

A state is flat. Its keys are paths, `"generators/noise"`, and its leaves are copies: tensors, whole
or real numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from analogdfc.errors import UserError

__all__ = ["State", "StateError", "checked", "digest", "inside", "part", "set_generator"]

State = dict[str, Tensor | int | float]


class StateError(UserError):
    """A state that can't be taken up. The message names the key.

    Args:
        key: path of the leaf.
        why: what is wrong with it, behind its name.
    """

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        self.why = why
        super().__init__(f"'{key}' {why}")


def inside(name: str, state: Mapping[str, Tensor | int | float]) -> State:
    """The state as a part, called `name`, of a larger one.

    Args:
        name: what the part is called.
        state: the part, by its own keys.
    """
    return {f"{name}/{key}": value for key, value in state.items()}


def part(name: str, state: Mapping[str, Tensor | int | float]) -> State:
    """What `inside(name, ...)` put into a larger state.

    Args:
        name: what the part is called.
        state: the larger state.
    """
    start = f"{name}/"
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def checked(state: Mapping[str, Tensor | int | float], like: State) -> State:
    """The state, with exactly the keys, kinds, shapes and types of another.

    Args:
        state: the state to be taken up.
        like: the present one.

    Returns:
        The same leaves, in the order and on the devices of `like`.

    Raises:
        StateError: a leaf is missing, belongs to nothing, or is of another kind, shape or type.
    """
    for key in state:
        if key not in like:
            raise StateError(key, "belongs to nothing in this training")
    out: State = {}
    for key, wanted in like.items():
        if key not in state:
            raise StateError(key, "is missing")
        out[key] = _alike(key, state[key], wanted)
    return out


def _alike(key: str, found: Tensor | int | float, wanted: Tensor | int | float) -> Tensor | float:
    if isinstance(wanted, Tensor):
        if not isinstance(found, Tensor):
            raise StateError(key, "must be an array of numbers")
        if found.shape != wanted.shape:
            shapes = [" x ".join(map(str, t.shape)) or "a single number" for t in (found, wanted)]
            raise StateError(key, f"has the shape {shapes[0]}; it must be {shapes[1]}")
        if found.dtype != wanted.dtype:
            raise StateError(key, f"is {found.dtype}; it must be {wanted.dtype}")
        return found.to(wanted.device)
    elif type(found) is not type(wanted):
        kind = "an integer" if isinstance(wanted, int) else "a number"
        raise StateError(key, f"must be {kind}")
    return found


def set_generator(key: str, generator: torch.Generator, state: Tensor | int | float) -> None:
    """Bring a source of random numbers to a state.

    Args:
        key: path of the state, for messages.
        generator: the source.
        state: of `generator.get_state()`, a tensor of the shape that it gives.

    Raises:
        StateError: no state of such a generator.
    """
    try:
        if not isinstance(state, Tensor):
            raise TypeError
        generator.set_state(state.cpu())
    except (RuntimeError, TypeError) as error:
        raise StateError(key, f"is no state of a random generator on {generator.device}") from error


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape and values, in hexadecimal.

    Args:
        tensor: of any shape and kind of number.
    """
    values = tensor.detach().cpu().contiguous()
    about = f"{tuple(values.shape)} {values.dtype} "
    return hashlib.sha256(about.encode() + values.numpy().tobytes()).hexdigest()
