"""The settings that ngspice starts with: its own, not those of the user or of the site.

ngspice reads a file `spinit` of its installation or of $SPICE_SCRIPTS before every run, and one
`.spiceinit` of the user's. `option rshunt=1e6` in one of them is a resistor at every node; `set
interp` and `autostop` change the waveforms. So a run finds empty ones in its own folder, and what
matters stands in its deck.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from analogdfc.spice.deck import logical_lines
from analogdfc.spice.installed import LIBRARY_VARIABLE
from analogdfc.spice.veriloga import COMPILED

_PREFIXES = ("SPICE_", "NGSPICE_")
_SHARED = ("/usr/share/ngspice", "/usr/local/share/ngspice")
_CODE_MODEL = re.compile(r"^\s*codemodel\s+(\S+\.cm)\s*$", re.MULTILINE)


def environment() -> dict[str, str]:
    """This program's environment without ngspice's variables; it reads `spinit` where it runs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_PREFIXES)}
    if LIBRARY_VARIABLE in os.environ:
        kept[LIBRARY_VARIABLE] = os.environ[LIBRARY_VARIABLE]
    return {**kept, "LC_ALL": "C", "OMP_NUM_THREADS": "1", "SPICE_SCRIPTS": "."}


def write_settings(folder: Path, netlist: str) -> None:
    """Write both files of settings into the folder in which a deck is run.

    Args:
        folder: the folder.
        netlist: the deck; where it has parts of ngspice's code models, these are loaded, and what
            is in the folder of compiled Verilog-A.
    """
    models = "".join(f"codemodel {file}\n" for file in _models(netlist))
    models += "".join(f"osdi {file.name}\n" for file in sorted(folder.glob(f"*{COMPILED}")))
    # Compiled Verilog-A is evaluated by as many threads as are said here, not on the command line;
    # where others want the cores, they wait for each other a hundred times as long as they work.
    threads = "set num_threads=1\n"
    (folder / "spinit").write_text(f"* analogdfc\n{threads}{models}", encoding="utf-8")
    (folder / ".spiceinit").write_text("* analogdfc\nset num_threads=1\n", encoding="utf-8")


def _models(netlist: str) -> Iterator[Path]:
    """Files of the code models that the site's own settings name, if the deck needs any."""
    if not any(_needs_models(line) for _, line in logical_lines(netlist)):
        return
    library = os.environ.get("SPICE_LIB_DIR")
    scripts = [Path(place) / "scripts" for place in (library, *_SHARED) if place]
    for place in (os.environ.get("SPICE_SCRIPTS"), *scripts):
        file = Path(place or "", "spinit")
        if place and file.is_file():
            found = _CODE_MODEL.findall(file.read_text("utf-8", errors="replace"))
            yield from (path for path in map(Path, found) if path.is_file())
            return


def _needs_models(line: str) -> bool:
    """Whether a line is an instance of a code model, or a polynomial source, which is one."""
    kind = line[:1].lower()
    return kind == "a" or (kind in "efgh" and "poly" in line.lower())
