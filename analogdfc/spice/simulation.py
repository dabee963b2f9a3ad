"""Simulations of one netlist under several testbenches, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from analogdfc.jobs import Progress, Task, Threads, results
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.process import stop_all
from analogdfc.spice.simulator import Simulator, Waveforms
from analogdfc.spice.testbench import Testbench

PARTS = 100
"""Units of progress of one simulation."""


@dataclass(frozen=True)
class Simulation(Task[Waveforms]):
    """A netlist under a testbench.

    Attributes:
        netlist: the netlist.
        bench: the testbench of one sample.
        save: the signals to return, as `Simulator.run` takes them.
        simulator: how ngspice is run.
        time_limit: seconds that it may take.
    """

    netlist: Netlist
    bench: Testbench
    save: tuple[str, ...]
    simulator: Simulator
    time_limit: float

    @property
    def work(self) -> int:
        """Hundredths of the simulated time."""
        return PARTS

    def run(self, progress: Progress) -> Waveforms:
        """Simulate; see `Task.run`."""
        told = 0

        def tell(share: float) -> None:
            nonlocal told
            done = max(int(PARTS * share), told)
            progress(done - told)
            told = done

        # The deck is written here: those of all samples at once may not fit into memory.
        deck = self.netlist.deck(self.bench.text())
        waves = self.simulator.run(
            deck, save=self.save, time_limit=self.time_limit, progress=tell,
            modules=self.netlist.modules,
        )  # fmt: skip
        tell(1.0)
        return waves


def simulating(executor: Executor | None, jobs: int) -> AbstractContextManager[Executor]:
    """What simulates, while it does: an executor that is open, or threads of this process.

    Args:
        executor: stays open; None for threads, which wait for a simulator each.
        jobs: how many threads, >= 1.
    """
    return Threads(jobs, stop_all) if executor is None else nullcontext(executor)


def simulate_all(
    simulations: Sequence[Simulation], jobs: int, progress: Callable[[int], object] | None = None
) -> Iterator[Waveforms]:
    """Waveforms of several simulations, in their order; an interrupt stops those that run.

    Args:
        simulations: what is simulated.
        jobs: simulations at a time, >= 1.
        progress: called with the number finished, after the waveforms of each were taken.

    Yields:
        The waveforms of each.

    Raises:
        UserError: ngspice is missing, refuses a netlist, or doesn't end in time.
        ConvergenceError: a run that doesn't converge.
    """
    with Threads(jobs, stop_all) as pool:
        for finished, waves in enumerate(results(simulations, pool), start=1):
            yield waves
            if progress is not None:
                progress(finished)
