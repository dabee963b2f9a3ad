"""Many pieces of work: in this process, in threads, in processes of this machine or elsewhere."""

from analogdfc.jobs.executors import Processes, Threads, processes
from analogdfc.jobs.running import results, run_tasks
from analogdfc.jobs.task import Progress, Shared, Task

__all__ = [
    "Processes",
    "Progress",
    "Shared",
    "Task",
    "Threads",
    "processes",
    "results",
    "run_tasks",
]
