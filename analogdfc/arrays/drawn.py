"""What was drawn for the devices of an array, as a state that another array can take up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from analogdfc.devices import Programmed
from analogdfc.devices.faults import Stuck
from analogdfc.devices.pulses import PulsedDevices
from analogdfc.states import State, checked

_MASK, _STUCK = "stuck/mask", "stuck/g"
_ATTEMPTS, _ACCEPTED = "attempts", "accepted"


def drawn_of(devices: Programmed) -> State:
    """What stays with each device whatever is written, and how its last write went.

    Args:
        devices: the array.

    Returns:
        Copies, by name; what a device doesn't have is left out.
    """
    population = devices.population
    found = {
        "gain": population.gain,
        "trap": population.trap,
        _ATTEMPTS: devices.attempts,
        _ACCEPTED: devices.accepted,
    }
    if population.stuck is not None:
        found |= {_MASK: population.stuck.mask, _STUCK: population.stuck.g}
    if population.pulsed is not None:
        found |= {f"pulses/{k}": v for k, v in population.pulsed._asdict().items()}
    return {name: tensor.clone() for name, tensor in found.items() if tensor is not None}


def checked_drawn(
    state: Mapping[str, Tensor | int | float], like: State, devices: Programmed
) -> dict[str, Tensor]:
    """The state, with the shapes and types of another.

    What is a matter of chance or of the last write may be there or not: stuck devices, attempts.

    Args:
        state: the state to be taken up.
        like: the present one.
        devices: the array that has it.

    Raises:
        StateError: a part is missing, belongs to nothing here, or has another shape or type.
    """
    shape, g = devices.g.shape, devices.g
    optional = {
        _MASK: torch.empty(shape, dtype=torch.bool),
        _STUCK: torch.empty(shape, dtype=g.dtype),
        _ATTEMPTS: torch.empty(shape, dtype=torch.int64),
        _ACCEPTED: torch.empty(shape, dtype=torch.bool),
    }
    # Both parts of what is stuck or none.
    present = set(state) | ({_MASK, _STUCK} if {_MASK, _STUCK} & set(state) else set())
    needed = {name: value for name, value in like.items() if name not in optional}
    needed |= {name: value for name, value in optional.items() if name in present}
    found = checked(state, needed)
    return {name: value.to(g.device) for name, value in found.items() if isinstance(value, Tensor)}


def with_drawn(devices: Programmed, state: Mapping[str, Tensor]) -> Programmed:
    """The devices with what was drawn for others.

    Args:
        devices: the array.
        state: of `checked_drawn`.
    """
    pulses = {
        k: state[f"pulses/{k}"].clone() for k in PulsedDevices._fields if f"pulses/{k}" in state
    }
    population = replace(
        devices.population,
        gain=_copy(state, "gain"),
        trap=_copy(state, "trap"),
        stuck=Stuck(state[_MASK].clone(), state[_STUCK].clone()) if _MASK in state else None,
        pulsed=PulsedDevices(**pulses) if pulses else None,
    )
    return replace(
        devices,
        population=population,
        attempts=_copy(state, _ATTEMPTS),
        accepted=_copy(state, _ACCEPTED),
    )


def _copy(state: Mapping[str, Tensor], name: str) -> Tensor | None:
    return state[name].clone() if name in state else None
