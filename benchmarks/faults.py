"""What commands lose when they are killed, when the disk is full, and when two write at once.

Each command is ended by a signal at random moments and started again until it ends well; what it
then has written must be what an undisturbed run writes. After SIGKILL, what it had started must be
gone within seconds, and its temporary folders with the run that ends well; after a signal that it
hears, both must be gone with it.

    python -m benchmarks.faults [--kills 20] [--others 10] [--seed 0] [--only compare,runs,full]
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from analogdfc import records

PROGRAM = [sys.executable, "-m", "analogdfc"]
SECONDS = 5.0
"""What a killed command has started may live on for so long."""


class Command(NamedTuple):
    """A command that takes long enough to be killed, and what makes it go on."""

    arguments: Sequence[str]
    output: str
    resume: Sequence[str] = ()


LONG = {
    "compare": Command(
        ["compare", "--sizes", "4-5-3", "--samples", "4", "--duration", "10"], "compare.h5"
    ),
    "train": Command(
        ["train", "--rule", "dfc-ss", "--dataset", "digits", "--sizes", "64-32-10", "--epochs",
         "6"],
        "train.h5",
        ["--resume"],
    ),
    "loop": Command(
        ["train", "--through", "circuit", "--dataset", "yin-yang", "--sizes", "4-3-3", "--samples",
         "20", "--epochs", "1", "--batch-size", "1", "--devices", "ecram_mo_kim2019"],
        "loop.h5",
        ["--resume"],
    ),
    "size": Command(
        ["size", "--sizes", "3-4-2", "--samples", "1", "--chips", "1", "--duration", "10",
         "--unseen", "3", "--trials", "24", "--max-angle", "8", "--fix", "word=1ohm", "--fix",
         "bit=1ohm", "--fix", "window=100"],
        "size.h5",
    ),
    "runs": Command(
        ["verify-theory", "--figure", "s3", "--figure", "s5", "--quick", "--feedback-epochs", "4"],
        "theory.h5",
    ),
    "chips": Command(
        ["montecarlo", "--sizes", "3-4-2", "--chips", "40", "--samples", "1", "--circuits", "4"],
        "chips.h5",
    ),
    "search": Command(
        ["search", "fashion-mnist", "--rule", "bp", "--dataset", "digits", "--trials", "8",
         "--epochs", "9"],
        "search.h5",
    ),
    "sleep": Command(["sleep", "--sizes", "3-4-2", "--steps", "4"], "sleep.h5"),
    "reproduce": Command(["reproduce", "dfc/s5", "--quick"], "s5.h5"),
}  # fmt: skip

UNLIKE = {"provenance/command", "settings/resume"}
"""What tells of the command line that went on from an earlier one."""


@dataclass
class Outcome:
    """What became of a command under faults."""

    name: str
    faults: int = 0
    ends: int = 0
    same: bool = True
    lost: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing was left."""
        return self.same and not self.lost


class Place:
    """A folder to work in, with temporary files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)

    def start(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start the program with these arguments."""
        environment = {**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*PROGRAM, *arguments], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def alive(self) -> list[int]:
        """Processes that know the temporary folder as theirs."""
        mark = f"TMPDIR={self.temporary}\0".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                theirs = (entry / "environ").read_bytes() + b"\0"
            except OSError:
                continue  # it has ended, or isn't ours
            if mark in theirs:
                found.append(int(entry.name))
        return found


def killed(
    name: str,
    command: Command,
    numbers: Sequence[signal.Signals],
    chance: random.Random,
    base: Path,
) -> Outcome:
    """End a command by one signal after another, and let it go on."""
    found = Outcome(name)
    whole = Place(base / f"{name}-whole")
    begin = time.monotonic()
    said = whole.start([*command.arguments, "-o", command.output]).communicate()[1]
    length = time.monotonic() - begin
    if not (whole.folder / command.output).exists():
        raise click.ClickException(f"{name}: {said}")
    place = Place(base / name)
    resume: Sequence[str] = ()
    while found.faults < len(numbers):
        process = place.start([*command.arguments, *resume, "-o", command.output])
        resume = command.resume
        try:
            # Mostly while it works: it takes a good second to start.
            said = process.communicate(timeout=chance.uniform(1.0, 0.7 * length))[1]
        except subprocess.TimeoutExpired:
            number = numbers[found.faults]
            found.faults += 1
            process.send_signal(number)
            process.communicate()
            _check_gone(place, found, 0.0 if number != signal.SIGKILL else SECONDS)
            _check_whole(place, command)
            if number != signal.SIGKILL:
                _check_clean(place, found)
            continue
        if process.returncode:
            found.lost.append(f"{name} doesn't go on: {said.strip().splitlines()[-1:]}")
            return found
        _finished(place, whole, command, found)
        resume = ()
    process = place.start([*command.arguments, *resume, "-o", command.output])
    said = process.communicate()[1]
    if process.returncode:
        found.lost.append(f"{name} doesn't end: {said.strip().splitlines()[-1:]}")
        return found
    _finished(place, whole, command, found)
    return found


def _finished(place: Place, whole: Place, command: Command, found: Outcome) -> None:
    """Compare what was written with that of an undisturbed run, and begin anew."""
    found.ends += 1
    one, other = (records.read(p.folder / command.output).tree for p in (place, whole))
    for key in unlike(one, other):
        if key not in UNLIKE:
            found.same = False
            found.lost.append(f"'{key}' is another than without kills")
    _check_clean(place, found)
    for path in place.folder.iterdir():
        if path != place.temporary:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_clean(place: Place, found: Outcome) -> None:
    # PyTorch makes a cache of its own, which stays.
    left = [p.name for p in place.temporary.iterdir() if not p.name.startswith("torchinductor")]
    if left:
        found.lost.append(f"temporary folders left: {', '.join(left)}")


def _check_gone(place: Place, found: Outcome, seconds: float) -> None:
    end = time.monotonic() + seconds
    while place.alive() and time.monotonic() < end:
        time.sleep(0.05)
    for process in place.alive():
        found.lost.append(f"process {process} lives on")
        os.kill(process, signal.SIGKILL)


def _check_whole(place: Place, command: Command) -> None:
    """What there is of the output must be whole."""
    output = place.folder / command.output
    if output.exists():
        records.read(output)


def unlike(one: Mapping[str, Any], other: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Keys at which two trees differ in a bit."""
    for name in sorted({*one, *other}):
        key = f"{where}{name}"
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from unlike(a, b, f"{key}/")
            continue
        a, b = (np.asarray(getattr(leaf, "values", leaf)) for leaf in (a, b))
        if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
            yield key


SHORT = {
    "crossbar": (["crossbar", "--size", "16x16"], "crossbar.h5"),
    "train": (["train", "--rule", "bp", "--epochs", "1"], "train.h5"),
    "compare": (["compare", "--sizes", "2-2-2", "--samples", "1", "--duration", "2",
                 "--no-causes"], "compare.h5"),
    "netlist": (["netlist", "--sizes", "2-2-2"], "netlist"),
}  # fmt: skip


def full(base: Path) -> Outcome:
    """No file may grow beyond some size, as on a full disk: nothing is half, nothing is lost."""
    found = Outcome("full disk")
    for name, (arguments, output) in SHORT.items():
        for size in (0, 2_000, 20_000):
            place = Place(base / f"full-{name}-{size}")
            limit = (size, size)
            process = place.start(
                [*arguments, "-o", output],
                preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit),
            )
            said = process.communicate(timeout=300)[1]
            found.faults += 1
            written = place.folder / output
            if "Traceback" in said or process.returncode not in (0, 2):
                found.lost.append(f"{name}, {size} bytes: exit code {process.returncode}: {said}")
            elif process.returncode == 0 or written.is_file():
                found.ends += 1
                if written.suffix == ".h5":
                    records.read(written)
            parts = [p.name for p in place.folder.rglob("*") if p.suffix == ".part"]
            _check_clean(place, found)
            if parts:
                found.lost.append(f"{name}, {size} bytes: left {', '.join(parts)}")
    return found


def read_only(base: Path) -> Outcome:
    """An output in a folder that can't be written is refused before any work."""
    found = Outcome("read-only folder")
    for name, (arguments, output) in SHORT.items():
        place = Place(base / f"read-only-{name}")
        (place.folder / "there").mkdir()
        (place.folder / "there").chmod(0o555)
        # Who may write everywhere is given a folder that can't be there.
        where = "there" if os.geteuid() else "/proc"
        process = place.start([*arguments, "-o", f"{where}/{output}"])
        said = process.communicate(timeout=300)[1]
        found.faults += 1
        if process.returncode != 2 or "Traceback" in said:
            found.lost.append(f"{name}: exit code {process.returncode}: {said}")
        found.ends += process.returncode == 2
    return found


def two_writers(base: Path) -> Outcome:
    """Of two commands on one output one is refused, by name; the other ends as if alone."""
    found = Outcome("two writers")
    for name, command in LONG.items():
        place = Place(base / f"two-{name}")
        pair = []
        for pause in (0.0, 0.5):
            time.sleep(pause)
            pair.append(place.start([*command.arguments, "-o", command.output]))
        said = [process.communicate()[1] for process in pair]
        codes = sorted(process.returncode for process in pair)
        found.faults += 1
        if codes != [0, 2] or not any("another command works here" in text for text in said):
            found.lost.append(f"{name}: exit codes {codes}: {said}")
        records.read(place.folder / command.output)
        found.ends += 1
    return found


@click.command()
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True, help="SIGKILLs.")
@click.option(
    "--others",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="SIGTERMs, SIGHUPs and SIGINTs, of each so many.",
)
@click.option("--seed", type=int, help="Of the moments.  [default: drawn, and printed]")
@click.option("--only", default="", help=f"Some of {', '.join(LONG)}, full, folder, two.")
def main(kills: int, others: int, seed: int | None, only: str) -> None:
    """Print what was lost; exit with 1 where anything was."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    numbers = [signal.SIGKILL] * kills
    numbers += [signal.SIGTERM, signal.SIGHUP, signal.SIGINT] * others
    chance.shuffle(numbers)
    cases: dict[str, Callable[[Path], Outcome]] = {
        name: partial(killed, name, command, numbers, chance) for name, command in LONG.items()
    }
    cases |= {"full": full, "folder": read_only, "two": two_writers}
    chosen = only.split(",") if only else list(cases)
    table = Table(title=f"faults, seed {seed}", title_justify="left")
    for head in ("case", "faults", "went on to their end", "nothing lost"):
        table.add_column(head)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        for name in chosen:
            outcomes.append(cases[name](Path(folder)))
            o = outcomes[-1]
            click.echo(f"{o.name}: {o.faults} faults, {o.ends} ends, {o.lost or 'good'}", err=True)
    for o in outcomes:
        table.add_row(o.name, str(o.faults), str(o.ends), "yes" if o.good else "NO")
    Console().print(table)
    for o in outcomes:
        for line in o.lost:
            click.echo(f"{o.name}: {line}")
    sys.exit(not all(o.good for o in outcomes))


if __name__ == "__main__":
    main()
