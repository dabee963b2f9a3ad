"""The child process of `SharedLibrary`: runs the deck in its working directory through PySpice.

It is started as a script and imports nothing of the package, so that a run costs the import of
PySpice and no more. Without a deck it reports the version of the library.

It reads deck.cir; it writes messages.txt (ngspice's messages as they come, so that they survive a
crash), one .npy file a plot, and report.json at the very end.
"""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this script: its files must not hide other modules

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Run deck.cir of the working directory, if there is one, and write the report."""
    logging.disable(logging.CRITICAL)  # PySpice logs what messages.txt has, and a version warning
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    log = open("messages.txt", "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    seen: list[str] = []

    class Recorder(NgSpiceShared):  # type: ignore[misc]
        def send_char(self, message: str, ngspice_id: int) -> int:
            stream, _, text = str(message).partition(" ")
            if stream == "stderr":
                seen.append(text.lower())
            log.write(text.rstrip("\r\n") + "\n")
            return 0

    ngspice: Any = Recorder()
    plots = []
    if Path("deck.cir").exists():
        _command(ngspice, "source deck.cir")
        if not any("error" in text or "cannot" in text for text in seen):
            _command(ngspice, "run")
            plots = [_save(ngspice, name) for name in ngspice.plot_names if name != "const"]
    report = {"version": ngspice.ngspice_version, "plots": plots}
    log.close()
    Path("report.json").write_text(json.dumps(report), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # libngspice isn't made to be unloaded


def _command(ngspice: Any, command: str) -> None:
    """Run a command; what went wrong is in the messages, where the caller looks for it.

    PySpice raises NameError (its errors are subclasses) for every line on ngspice's standard error
    that is no warning, a harmless note as well.
    """
    with contextlib.suppress(NameError):
        ngspice.exec_command(command)


def _save(ngspice: Any, name: str) -> dict[str, Any]:
    """Write a plot's vectors as (points, variables) and return what describes it."""
    vectors = {key: vector._data for key, vector in ngspice.plot(None, name).items()}
    file = f"{name}.npy"
    np.save(file, np.column_stack(list(vectors.values())), allow_pickle=False)
    kind = "Transient Analysis" if name.startswith("tran") else name
    return {"file": file, "title": "", "name": kind, "variables": [key.lower() for key in vectors]}


if __name__ == "__main__":
    main()
