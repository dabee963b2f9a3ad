"""Fuzzing of the readers that follows the code: inputs that reach more of it are changed further.

    python tests/guided.py cards -runs=20000

needs the extra `fuzz` (Atheris); what stands behind the target is for libFuzzer. Ends at the first
input that is neither read nor refused in one clear line, and writes it to the working directory
or where -artifact_prefix says.
HDF5's own code can't be followed; damaged HDF5 files are among the other fuzz tests.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """What is fuzzed.

    Attributes:
        read: reads a file.
        name: what the file is called.
        seeds: files to begin with.
        most: length of the longest input.
    """

    read: Callable[[Path], object]
    name: str
    seeds: list[bytes]
    most: int = 8192


def targets() -> dict[str, Target]:
    """All targets; imports what they read with."""
    from test_fuzz_cards import texts
    from test_fuzz_files import cells, idx_files, npy_files, raw_files

    from analogdfc.cards import Card, DeviceCard, find
    from analogdfc.cli._matrix import read_matrix
    from analogdfc.datasets._idx import idx
    from analogdfc.digital.card import DigitalCard
    from analogdfc.spice.deck import check_deck
    from analogdfc.spice.flat import devices
    from analogdfc.spice.interfaces import interfaces, mismatch
    from analogdfc.spice.rawfile import read_rawfile

    def card(path: Path) -> object:
        return find(path, (Card, DeviceCard, DigitalCard))

    def deck(path: Path) -> object:
        text = f"title\n{path.read_text('utf-8', 'replace')}\n.end\n"
        check_deck(text)
        return interfaces(text), mismatch(text), list(islice(devices(text), 1000))

    def matrix(path: Path) -> object:
        return read_matrix(str(path), "weights")

    cards = [t.encode() for folder in ("", "devices", "digital") for t in texts(folder)]
    return {
        "cards": Target(card, "card.toml", cards),
        "cells": Target(deck, "mine.lib", [c.encode() for c in cells()]),
        "rawfiles": Target(read_rawfile, "out.raw", raw_files()),
        "numpy": Target(matrix, "w.npy", npy_files(), 512),
        "tables": Target(matrix, "w.csv", [b"1,2\n3,4\n", b'\xef\xbb\xbf"1",2e3\n'], 512),
        "images": Target(idx, "images", idx_files(), 512),
    }


def tried(target: Target, place: Path, content: bytes) -> None:
    """Read one input; what is raised is a fault."""
    from fuzzing import check_line

    from analogdfc.errors import UserError

    (place / target.name).write_bytes(content)
    try:
        target.read(place / target.name)
    except UserError as error:
        check_line(str(error))


def main() -> None:
    """Fuzz the target that the command line names."""
    import atheris

    with atheris.instrument_imports(include=["analogdfc", "tomllib"]):
        known = targets()
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(f"python tests/guided.py TARGET [OPTIONS]; targets: {', '.join(known)}")
    target = known[sys.argv[1]]
    with ExitStack() as stack:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        place, seeds = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory))) for _ in range(2)
        )
        for k, seed in enumerate(target.seeds):
            (seeds / str(k)).write_bytes(seed)
        options = [f"-max_len={target.most}", "-timeout=20", *sys.argv[2:], str(seeds)]
        atheris.Setup([sys.argv[0], *options], lambda content: tried(target, place, content))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
