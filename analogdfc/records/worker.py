"""The child process of `apart`: for each question it starts a process that reads a file.

Started as a script. A question is a line of JSON on its standard input: seconds of CPU time,
working directory, name of a function, arguments. An answer is a line with the exit code of the
process that was asked (or its signal, negative) and a number of bytes, and so many bytes: what it
had to say.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])  # where the caller has the package from

import ctypes
import json
import os
import pickle
import resource
import signal
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer until the caller is gone."""
    _end_with_caller()
    from analogdfc.records import reading

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        seconds, folder, function, arguments = json.loads(line)
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            os.close(receive)
            _end_with_caller()
            os.chdir(folder)
            _answer(seconds, getattr(reading, function), arguments, send)
        os.close(send)
        with os.fdopen(receive, "rb") as said:
            content = said.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.write(f"{code} {len(content)}\n".encode())
        answers.write(content)
        answers.flush()


def _answer(seconds: int, function: Any, arguments: list[Any], send: int) -> None:
    from analogdfc.errors import UserError

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 1
    try:
        answer: tuple[bool, object]
        try:
            answer = True, function(*arguments)
        except UserError as error:
            answer = False, str(error)
        with os.fdopen(send, "wb") as out:
            pickle.dump(answer, out, protocol=pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def _end_with_caller() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
