"""An ngspice that goes on running and takes commands, with one circuit loaded."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Sequence
from pathlib import Path

from analogdfc.errors import TimeLimitError
from analogdfc.scratch import Scratch
from analogdfc.spice.process import end, started
from analogdfc.spice.simulator import DECK_NAME

__all__ = ["Session"]

_COMMANDS, _REPLY = "commands", "reply"
_LONGEST = 1e7
"""Seconds after which the guard ends a session whose caller is halted."""
_LOOK = 0.2
"""Seconds between two looks at whether the program is still there."""

# `source` reads the pipe to its end before the first command is done, and then waits for the next.
_CONTROL = f"""* a session
.control
set noaskquit
source {DECK_NAME}
while 1
  source {_COMMANDS}
end
.endc
.end
"""


class Session:
    """A running ngspice.

    It ends with `close`, and with this process, however that ends (see `analogdfc.spice.guard`).

    Args:
        binary: path of ngspice.
        scratch: its folder, which has `DECK_NAME` and the settings; goes when the session is
            closed.

    Attributes:
        folder: where it runs.
    """

    def __init__(self, binary: str, scratch: Scratch) -> None:
        self._scratch, self.folder = scratch, scratch.path
        (self.folder / "control.cir").write_text(_CONTROL, encoding="utf-8")
        for name in (_COMMANDS, _REPLY):
            os.mkfifo(self.folder / name)
        # Open for both, so that it never comes to an end.
        self._reply = os.open(self.folder / _REPLY, os.O_RDWR | os.O_NONBLOCK)
        settings = ["-n", "-D", "num_threads=1", "-D", "filetype=binary"]
        self._process = started([binary, *settings, "-b", "control.cir"], self.folder, {}, _LONGEST)
        self._read = dict.fromkeys(("stdout.txt", "stderr.txt"), 0)

    def ask(self, commands: Sequence[str], time_limit: float) -> tuple[int, list[str]]:
        """Have commands done.

        Args:
            commands: in order.
            time_limit: seconds that they may take.

        Returns:
            The exit code, 0 where the program goes on, and the lines that it wrote.

        Raises:
            TimeLimitError: they took longer; the session is closed.
        """
        ends = time.monotonic() + time_limit
        text = "\n".join(["*ng_script", *commands, f"echo done > {_REPLY}", ""])
        if self._sent(text.encode("ascii"), ends) and self._answered(ends):
            return 0, self._messages()
        if self._process.poll() is None:
            self.close()
            raise TimeLimitError(
                f"ngspice did not finish within its time limit of {time_limit:g} s and was "
                "stopped; nothing is returned. Raise the limit or simulate less"
            )
        return self._process.returncode or 1, self._messages()

    def cpu_seconds(self) -> float:
        """CPU time of the program so far."""
        ticks = 0
        for process in self._children():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _children(self) -> list[str]:
        guard = self._process.pid
        return Path(f"/proc/{guard}/task/{guard}/children").read_text().split()

    def close(self) -> None:
        """End the program and remove its folder."""
        if self._reply < 0:
            return
        end(self._process)
        os.close(self._reply)
        self._reply = -1
        self._scratch.remove()

    def _sent(self, text: bytes, ends: float) -> bool:
        """Whether the program has taken the commands."""
        while self._going(ends):
            try:
                pipe = os.open(self.folder / _COMMANDS, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # it doesn't wait for commands yet
                time.sleep(0.002)
                continue
            os.set_blocking(pipe, True)
            with os.fdopen(pipe, "wb") as stream:
                stream.write(text)
            return True
        return False

    def _answered(self, ends: float) -> bool:
        """Whether it has done them."""
        while self._going(ends):
            if select.select([self._reply], [], [], _LOOK)[0]:
                return bool(os.read(self._reply, 64))
        return False

    def _going(self, ends: float) -> bool:
        return self._process.poll() is None and time.monotonic() < ends

    def _messages(self) -> list[str]:
        """Lines that it has written since the last time."""
        lines: list[str] = []
        for name, begin in self._read.items():
            with Path(self.folder, name).open("rb") as stream:
                stream.seek(begin)
                written = stream.read()
            self._read[name] += len(written)
            lines += re.split(r"[\r\n]+", written.decode("utf-8", errors="replace"))
        return [line.strip() for line in lines if line.strip()]
