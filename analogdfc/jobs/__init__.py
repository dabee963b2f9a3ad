"""Many pieces of work: in this process, in processes of this machine, on a cluster.

A `Task` is data: a frozen dataclass that says all that its result depends on. `run_tasks` has a
list of them done. A `Run` is a task whose result a record holds; `run_kept` keeps what each gave in
a `Spool`, a folder with a record a run, so that a list that was interrupted goes on.

Where they are done is an engine's matter, `engine_of('processes' | 'dask' | 'spool', address)`:

    with engine_of("spool", "/shared/runs").open(count, say) as executor:
        found = run_kept(runs, spool, executor, progress)

Results are the same with any. The engine `spool` is a `Board`, a shared folder in which runs lie as
data, and `work`, which takes them from there, on as many machines as one likes. A board can be used
without an engine too, by a driver that needn't stay: `offer` runs, `ended` says which have, and
`outcome` gives the result or the error of one. A long `run` asks `checkpoint_place()` where to
leave a checkpoint, and to go on from one after it was lost with its worker.
"""

from analogdfc.jobs.board import Board
from analogdfc.jobs.engines import ENGINES, Engine, engine_of
from analogdfc.jobs.executors import Elsewhere, Processes, Threads, WorkerDiedError, processes
from analogdfc.jobs.kept import Run, Spool, check_spool, spool_beside, unpacked
from analogdfc.jobs.origin import OtherProgramsError
from analogdfc.jobs.pulling import Tally, work
from analogdfc.jobs.running import outcomes, results, run_kept, run_tasks
from analogdfc.jobs.task import Progress, Shared, Task, checkpoint_place

__all__ = [
    "ENGINES",
    "Board",
    "Elsewhere",
    "Engine",
    "OtherProgramsError",
    "Processes",
    "Progress",
    "Run",
    "Shared",
    "Spool",
    "Tally",
    "Task",
    "Threads",
    "WorkerDiedError",
    "check_spool",
    "checkpoint_place",
    "engine_of",
    "outcomes",
    "processes",
    "results",
    "run_kept",
    "run_tasks",
    "spool_beside",
    "unpacked",
    "work",
]
