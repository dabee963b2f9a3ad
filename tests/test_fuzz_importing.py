"""Fuzzed files of networks that other programs trained."""

from __future__ import annotations

import io
from functools import cache

import h5py
import numpy as np
import torch
from fuzzing import clear, folder, fuzz
from hypothesis import given
from hypothesis import strategies as st
from strategies import changed_bytes

from analogdfc import records
from analogdfc.importing import import_network

MODEL = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2))


@cache
def state_dicts() -> list[bytes]:
    """Networks as PyTorch stores them, now and long ago."""
    files = []
    for new in (True, False):
        out = io.BytesIO()
        torch.save(MODEL.state_dict(), out, _use_new_zipfile_serialization=new)
        files.append(out.getvalue())
    return files


@cache
def archives() -> list[bytes]:
    """The same as arrays of NumPy, packed and not."""
    files = []
    arrays = {name: value.numpy() for name, value in MODEL.state_dict().items()}
    for write in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        write(out, **arrays)
        files.append(out.getvalue())
    return files


@cache
def trees() -> list[bytes]:
    """The same as HDF5, with Keras' names."""
    with folder() as place:
        with h5py.File(place / "m.h5", "w") as file:
            for k, layer in enumerate(m for m in MODEL if isinstance(m, torch.nn.Linear)):
                file[f"dense_{k}/kernel"] = layer.weight.detach().numpy().T
                file[f"dense_{k}/bias"] = layer.bias.detach().numpy()
        records.read(place / "m.h5")  # from now on there is the process that reads such files
        return [(place / "m.h5").read_bytes()]


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A name and what the file holds."""
    ending, seeds = draw(_KINDS)
    return f"m{ending}", draw(changed_bytes(seeds))


_KINDS = st.sampled_from(
    [(".pt", state_dicts()), (".pth", state_dicts()), (".npz", archives()), (".h5", trees())]
)


@fuzz("networks of others")
@given(files())
def test_a_network_of_another_program_is_read_or_refused(file: tuple[str, bytes]) -> None:
    name, content = file
    with folder() as place:
        (place / name).write_bytes(content)
        with clear("networks of others", file, seconds=60):
            import_network(place / name, "tanh")
