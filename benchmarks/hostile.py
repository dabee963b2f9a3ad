"""Every command on machines whose settings are against it, beside the same command on a usual one.

Each command's smallest useful setting runs in every environment: a simulator's and matplotlib's
settings of the machine, locales that there aren't, a narrow terminal with forced colours, no home,
closed streams, and all of these together. It must write the same numbers and the same figures, show
every number that it shows on a wide terminal, end with 0, and without a traceback.

    python -m benchmarks.hostile [--only compare,rules] [--in locale,narrow]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from analogdfc import records
from benchmarks.faults import PROGRAM, unlike

SPINIT = """* settings of a site
option rshunt=1e6
option trtol=1000
option maxord=1
option reltol=0.1
option temp=100
set interp
set filetype=ascii
set autostop
"""
MATPLOTLIBRC = "text.usetex: True\nbackend: nonsense\nsavefig.dpi: 10\naxes.facecolor: red\n"

SMALL = ["--sizes", "2-3-2", "--samples", "1"]
COMMANDS: dict[str, Sequence[str]] = {
    "align": ["align", "--rule", "bp", "--rule", "dfc-ssa", "--sizes", "64-6-10", "--samples", "8",
              "-o", "out.h5"],
    "cards": ["cards"],
    "characterise": ["characterise", "switch", "-o", "out.h5"],
    "card": ["cards", "discrete_100mhz"],
    "compare": ["compare", *SMALL, "--duration", "4", "-o", "out.h5"],
    "crossbar": ["crossbar", "--size", "4x3", "--samples", "2", "-o", "out.h5"],
    "doctor": ["doctor"],
    "estimate": ["estimate", *SMALL, "-o", "out.h5"],
    "import": ["import", "weights.npz", "--activation", "tanh", "-o", "out.h5"],
    "montecarlo": ["montecarlo", *SMALL, "--chips", "4", "--jobs", "1", "-o", "out.h5"],
    "netlist": ["netlist", "--sizes", "2-3-2", "-o", "out"],
    "reproduce": ["reproduce", "dfc/fig2", "--quick", "-o", "out.h5"],
    "rules": ["rules"],
    "rule": ["rules", "dfc"],
    "search": ["search", "fashion-mnist", "--dataset", "digits", "--trials", "2", "--together", "2",
               "--epochs", "1", "--samples", "64", "--held-out", "32", "--pretraining", "0",
               "--rungs", "none", "--jobs", "1", "-o", "out.h5"],
    "size": ["size", *SMALL, "--chips", "1", "--duration", "10", "--unseen", "1", "--trials", "4",
             "--max-angle", "20", "--fix", "word=1ohm", "--fix", "bit=1ohm", "--fix", "window=100",
             "--jobs", "1", "-o", "out.h5"],
    "sleep": ["sleep", *SMALL, "--through", "ideal,behavioural", "--steps", "2", "-o", "out.h5"],
    "stability": ["stability", *SMALL, "-o", "out.h5"],
    "train": ["train", "--rule", "dfc-ss", "--dataset", "digits", "--sizes", "64-8-10", "--epochs",
              "1", "--samples", "64", "-o", "out.h5"],
    "verify-theory": ["verify-theory", "--figure", "3", "--quick", "-o", "out.h5"],
}  # fmt: skip
"""Name and arguments, in a folder where `weights.npz` lies."""

NOISE = re.compile(r"\d+(\.\d+)? ?(s|MB|GB)\b|\x1b\[[0-9;?]*[a-zA-Z]")
"""What differs between any two runs, and colours."""
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\d)")


class Environment(NamedTuple):
    """A machine.

    Attributes:
        variables: environment variables; None for one that isn't set. `{folder}` is that of the
            settings.
        closed: standard streams that are closed.
    """

    variables: Mapping[str, str | None]
    closed: tuple[int, ...] = ()


SIMULATOR = {"SPICE_SCRIPTS": "{folder}", "SPICE_LIB_DIR": "{folder}", "HOME": "{folder}",
             "SPICE_ASCIIRAWFILE": "1"}  # fmt: skip
DRAWING = {"MATPLOTLIBRC": "{folder}/matplotlibrc", "MPLBACKEND": "nonsense"}
NARROW = {"COLUMNS": "40", "FORCE_COLOR": "1"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENVIRONMENTS = {
    "simulator": Environment(SIMULATOR),
    "drawing": Environment(DRAWING),
    "LC_ALL=C": Environment(ASCII),
    "locale": Environment({"LC_ALL": "xx_YY.nonsense", "LANG": "xx_YY", "LANGUAGE": "xx"}),
    "narrow": Environment(NARROW),
    "no home": Environment({"HOME": None, "XDG_CACHE_HOME": None, "USER": None, "LOGNAME": None}),
    "no output": Environment({}, (1,)),
    "no errors": Environment({}, (2,)),
    "no streams": Environment({}, (0, 1, 2)),
    "all": Environment({**SIMULATOR, **DRAWING, **NARROW, **ASCII, "HOME": None}),
}


class Run(NamedTuple):
    """What a command did.

    Attributes:
        code: its exit code.
        said: standard output.
        errors: standard error.
        files: what it wrote, by name.
    """

    code: int
    said: str
    errors: str
    files: Mapping[str, Path]


def run(arguments: Sequence[str], machine: Environment, folder: Path) -> Run:
    """Run a command in a folder of its own.

    Args:
        arguments: of the program.
        machine: where.
        folder: to work in, which must not exist.
    """
    settings, work = folder / "settings", folder / "work"
    (settings / "scripts").mkdir(parents=True)
    work.mkdir()
    for name in ("spinit", "scripts/spinit", ".spiceinit"):
        (settings / name).write_text(SPINIT)
    (settings / "matplotlibrc").write_text(MATPLOTLIBRC)
    draw = np.random.default_rng(0).standard_normal
    shapes = {"a.weight": (3, 2), "a.bias": (3,), "b.weight": (2, 3), "b.bias": (2,)}
    arrays: Mapping[str, Any] = {name: draw(shape) for name, shape in shapes.items()}
    np.savez(work / "weights.npz", **arrays)
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    for name, value in machine.variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value.format(folder=settings)

    def close() -> None:
        for stream in machine.closed:
            os.close(stream)

    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=work, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, preexec_fn=close if machine.closed else None, check=False,
    )  # fmt: skip
    files = {str(p.relative_to(work)): p for p in work.rglob("*") if p.is_file()}
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return Run(done.returncode, out, err, files)


def faults(found: Run, usual: Run, machine: Environment) -> Iterator[str]:
    """What a command did otherwise than on a usual machine, a line each.

    Args:
        found: what it did.
        usual: what it does on a usual machine.
        machine: where it ran.
    """
    if found.code != usual.code:
        last = found.errors.strip().splitlines()[-1:]
        yield f"exit code {found.code} where {usual.code} is usual: {last}"
    for text in (found.said, found.errors):
        if "Traceback" in text:
            yield f"a traceback: {text.strip().splitlines()[-1]}"
        elif "Error" in text and "Error" not in usual.said + usual.errors:
            yield f"an error: {text.strip()}"
    # A lock names the process that holds it.
    for name in sorted(n for n in {*found.files, *usual.files} if not n.endswith("/lock")):
        pair = found.files.get(name), usual.files.get(name)
        if pair[0] is None or pair[1] is None:
            yield f"{name} is {'missing' if pair[0] is None else 'more than usual'}"
        elif name.endswith(".h5"):
            one, other = (records.read(path).tree for path in pair if path)
            keys = list(unlike(one, other))
            if keys:
                yield f"{name}: {len(keys)} other values, such as '{keys[0]}'"
        elif pair[0].read_bytes() != pair[1].read_bytes():
            yield f"another {name}"
    if 1 not in machine.closed:
        gone = Counter(_numbers(usual.said)) - Counter(_numbers(found.said))
        if gone:
            yield f"numbers that aren't shown: {', '.join(sorted(gone))}"
        if "…" in found.said:
            yield "a text that is cut"


def _numbers(text: str) -> list[str]:
    return NUMBER.findall(NOISE.sub(" ", text))


@click.command()
@click.option("--only", default="", help="Some of the commands, separated by commas.")
@click.option("--in", "where", default="", help="Some of the environments.")
def main(only: str, where: str) -> None:
    """Print one line for every command and environment; exit with 1 where one is missed."""
    commands = only.split(",") if only else list(COMMANDS)
    machines = where.split(",") if where else list(ENVIRONMENTS)
    missed = 0
    with tempfile.TemporaryDirectory() as base:
        for command in commands:
            folder = Path(base) / command
            begin = time.monotonic()
            usual = run(COMMANDS[command], Environment({}), folder / "usual")
            click.echo(f"{command}: usual, {time.monotonic() - begin:.1f} s")
            if usual.code:
                raise click.ClickException(f"{command}: {usual.errors}")
            for name in machines:
                machine = ENVIRONMENTS[name]
                found = run(COMMANDS[command], machine, folder / name.replace("=", "-"))
                lines = list(faults(found, usual, machine))
                missed += bool(lines)
                click.echo(f"{command}, {name}: {'; '.join(lines) or 'good'}")
    click.echo(f"{missed} of {len(commands) * len(machines)} missed")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
