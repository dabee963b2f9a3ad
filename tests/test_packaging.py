"""The wheel is complete: what it holds, and that it works where there is no checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = {
    "circuits": "analogdfc/_circuits",
    "netlists": "analogdfc/_netlists",
    "calibration": "analogdfc/_calibration",
}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command in a clean environment; its output, or a failure with all that it said."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked(*paths: str) -> list[Path]:
    """The files that the repository holds under these paths, new ones included."""
    listed = run(
        *("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths), cwd=ROOT
    )
    return [Path(line) for line in listed.splitlines() if (ROOT / line).is_file()]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution, and the wheel that is built from it."""
    # From a copy: a build writes into the source tree, which other tests are reading.
    source = tmp_path_factory.mktemp("source")
    for path in tracked("."):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes((ROOT / path).read_bytes())
    target = tmp_path_factory.mktemp("dist")
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source),
        cwd=target,
        # A warning of the build system would become an error for the user with its next version.
        PYTHONWARNINGS="default",
    )
    return target


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh virtual environment with the wheel in it.

    The dependencies are borrowed from the environment that runs the tests. A path in a `.pth` file
    is searched for packages, but the `.pth` files inside it are not obeyed: the editable
    installation of the checkout stays out.
    """
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    places = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)}, scheme="venv")
    site = Path(places["purelib"])
    python = Path(places["scripts"]) / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel),
        cwd=home,
    )
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in borrowed))
    return python.parent


def test_every_package_of_the_checkout_is_listed_in_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    modules = (path for path in tracked("analogdfc") if path.suffix == ".py")
    found = {".".join(path.parent.parts) for path in modules}
    assert listed == found | {name.replace("/", ".") for name in DATA.values()}


@pytest.mark.slow
def test_every_module_and_data_file_of_the_repository_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    files = tracked("analogdfc", *DATA)
    assert len(files) > 20
    for path in files:
        folder, *rest = path.parts
        name = "/".join([DATA.get(folder, folder), *rest])
        assert packed.get(name) == (ROOT / path).read_bytes(), f"{path} is not in the wheel"


@pytest.mark.slow
def test_the_source_distribution_has_the_whole_repository(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(path) for path in tracked(".") if path.name != ".gitignore"}
    assert wanted - packed == set()


@pytest.mark.slow
def test_the_fresh_environment_has_the_wheel_and_not_the_checkout(installed: Path) -> None:
    code = "import sys, analogdfc; print(analogdfc.__file__); print(*sys.meta_path, *sys.path)"
    where, finders = run(installed / "python", "-c", code, cwd=installed).splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert "editable" not in finders.lower()
    assert str(ROOT) not in [path for path in finders.split() if Path(path) == ROOT]


@pytest.mark.slow
@pytest.mark.parametrize("folder", DATA)
def test_installed_data_are_found_by_importlib_resources(installed: Path, folder: str) -> None:
    package = DATA[folder].replace("/", ".")
    code = (
        "from importlib.resources import files\n"
        f"for path in files({package!r}).rglob('*'):\n"
        f"    if path.is_file(): print(path.relative_to(files({package!r})))"
    )
    found = set(run(installed / "python", "-c", code, cwd=installed).splitlines())
    assert {str(path.relative_to(folder)) for path in tracked(folder)} <= found


@pytest.mark.slow
def test_compare_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    run(installed / "analogdfc", "compare", "--samples", "2", "-o", "x.h5", cwd=tmp_path)
    assert (tmp_path / "x.h5").stat().st_size > 0
