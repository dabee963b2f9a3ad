"""Between a caller and the simulator that it runs: ends the simulator when the caller is gone.

Started as a script, with the caller's end of a pipe as standard input: its end of file means that
the caller died, by whatever signal. It imports nothing but small modules of the standard library,
so that a run costs some 20 ms and no more.

    python -I -S guard.py LIMIT COMMAND...

Works in the working directory, which is removed when the caller is gone. The exit code is that of
the command, or its signal. The time limit, in seconds, holds also where the caller is halted.
"""

import os
import select
import signal
import sys

NOT_STARTED = "not-started.txt"
"""Where the reason stands for which a command could not be started."""


def main(limit: float, command: list[str]) -> None:
    """Run the command until its end, the time limit or the end of the caller."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        child = os.posix_spawnp(
            command[0], command, os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )  # fmt: skip
    except OSError as error:
        with open(NOT_STARTED, "w", encoding="utf-8") as file:
            file.write(error.strerror or str(error))
        sys.exit(127)
    # Nobody writes to standard input: it is ready at the end of the caller and no sooner.
    ready = select.select([0, woken], [], [], limit)[0]
    if woken not in ready:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if 0 in ready:
        import shutil

        shutil.rmtree(os.getcwd(), ignore_errors=True)
        os.killpg(0, signal.SIGKILL)  # what the command may have started
    if code < 0:
        _die_of(-code)
    sys.exit(code)


def _die_of(number: int) -> None:
    """End by a signal, as the command did, without a core file of this process."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
