"""Many pieces of work: in this process, in threads, in processes of this machine or elsewhere.

A `Task` is data: a frozen dataclass that says all that its result depends on. `run_tasks` has a
list of them done. A `Run` is a task whose result a record holds; `run_kept` keeps what each gave in
a `Spool`, a folder with a record a run, so that a list that was interrupted goes on.
"""

from analogdfc.jobs.executors import Processes, Threads, WorkerDiedError, processes
from analogdfc.jobs.kept import Run, Spool, check_spool, spool_beside
from analogdfc.jobs.running import outcomes, results, run_kept, run_tasks
from analogdfc.jobs.task import Progress, Shared, Task

__all__ = [
    "Processes",
    "Progress",
    "Run",
    "Shared",
    "Spool",
    "Task",
    "Threads",
    "WorkerDiedError",
    "check_spool",
    "outcomes",
    "processes",
    "results",
    "run_kept",
    "run_tasks",
    "spool_beside",
]
