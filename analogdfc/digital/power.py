"""Power of a GPU while it works, read through NVML."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from analogdfc.errors import UserError

_MODULE = "pynvml"


@dataclass(frozen=True)
class Power:
    """What a GPU took while it repeated a call.

    Attributes:
        device: name of the GPU.
        calls: repetitions.
        seconds: their duration.
        watts: mean power during them.
        idle_watts: mean power just before, with nothing to do.
        joules: energy of one call, in all.
        incremental_joules: energy of one call beyond that of an idle GPU.
    """

    device: str
    calls: int
    seconds: float
    watts: float
    idle_watts: float
    joules: float
    incremental_joules: float


def _binding() -> Any:
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        raise UserError(
            "power can't be measured: the Python binding of NVML is missing (package nvidia-ml-py)"
        ) from error


def _handle(nvml: Any, device: int) -> Any:
    # By its identity, since NVML numbers GPUs without regard to CUDA_VISIBLE_DEVICES.
    identity = str(torch.cuda.get_device_properties(device).uuid)
    return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity.removeprefix('GPU-')}")


@contextmanager
def energy_counter(device: int = 0) -> Iterator[Callable[[], float]]:
    """The energy counter of an NVIDIA GPU, as long as the context lasts.

    Args:
        device: the GPU, as PyTorch numbers it.

    Yields:
        A function that waits for the GPU and returns the joules that it has taken since its driver
        was loaded.

    Raises:
        UserError: no GPU, no binding of NVML, or a GPU without an energy counter; the last when the
            counter is read.
    """
    if not torch.cuda.is_available():
        raise UserError("power can't be measured: there is no CUDA device")
    if not 0 <= device < torch.cuda.device_count():
        raise UserError(f"device {device}: there are {torch.cuda.device_count()} CUDA devices")
    nvml = _binding()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise UserError(f"power can't be measured: NVML doesn't start: {error}") from error

    def joules() -> float:
        torch.cuda.synchronize(device)
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3

    try:
        handle = _handle(nvml, device)
        yield joules
    except nvml.NVMLError as error:
        raise UserError(
            f"power can't be measured: this GPU doesn't tell its energy: {error}"
        ) from error
    finally:
        nvml.nvmlShutdown()


def measure_power(
    call: Callable[[], object], *, seconds: float = 5.0, idle_seconds: float = 2.0, device: int = 0
) -> Power:
    """Mean power and energy of a call on an NVIDIA GPU, from the GPU's own energy counter.

    The counter advances every tenth of a second or so: measure for seconds. It belongs to the
    whole GPU; others that use it at the same time are measured along.

    Args:
        call: what is measured; repeated until the time is over, at least once after one run that
            is not measured.
        seconds: least duration of the measurement, > 0.
        idle_seconds: duration of the measurement at rest before it, > 0.
        device: the GPU, as PyTorch numbers it.

    Raises:
        UserError: as `energy_counter`, or a duration that isn't positive.
    """
    if not (seconds > 0 and idle_seconds > 0):
        raise UserError(f"seconds = {seconds}, idle_seconds = {idle_seconds}: both must be > 0")
    with energy_counter(device) as joules:
        call()
        before, start = joules(), time.perf_counter()
        time.sleep(idle_seconds)
        idle_watts = (joules() - before) / (time.perf_counter() - start)
        before, start, calls = joules(), time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            call()
            torch.cuda.synchronize(device)
            calls += 1
        used = joules() - before
        elapsed = time.perf_counter() - start
    return Power(
        str(torch.cuda.get_device_name(device)),
        calls,
        elapsed,
        used / elapsed,
        idle_watts,
        used / calls,
        (used - idle_watts * elapsed) / calls,
    )
