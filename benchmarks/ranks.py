"""Two processes that learn together, against one that has the whole batch.

`OMP_NUM_THREADS=1 python -m benchmarks.ranks`; 1 where a gradient differs by more than the bar.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch.multiprocessing.spawn import spawn

from analogdfc.learning import Ranks, make_rule
from analogdfc.network import Network
from benchmarks.dfc import SIZES, gradient, samples

BATCH, BAR = 32, 1e-12
RULES: dict[str, dict[str, Any]] = {
    "bp": {},
    "dfc": {"steps": 200},
    "dfc-ss": {"tolerance": 1e-14},
    "dfc-ssa": {},
}


def one_of_two(rank: int, folder: str) -> None:
    """What each process does; the first leaves the differences in the folder."""
    torch.set_num_threads(1)
    place = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=2)
    ranks, (x, y) = Ranks(), samples(BATCH)
    found = {}
    for name, options in RULES.items():
        network = Network(SIZES, generator=torch.Generator().manual_seed(0))
        rule = make_rule(name, network, **options)
        rule.learn_with(ranks)
        rule.backward(ranks.share(x), ranks.share(y))
        together = gradient(network)
        if rank == 0:
            make_rule(name, network, **options).backward(x, y)
            alone = gradient(network)
            found[name] = float((together - alone).norm() / alone.norm())
    dist.destroy_process_group()
    if rank == 0:
        torch.save(found, place / "found.pt")


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(one_of_two, (folder,), nprocs=2)
        found: dict[str, float] = torch.load(Path(folder) / "found.pt")
    table = Table(title=f"{'-'.join(map(str, SIZES))}, batch {BATCH}, two processes")
    for column in ("rule", "relative difference to one process", "bar"):
        table.add_column(column, justify="right")
    for name, off in found.items():
        table.add_row(name, f"{off:.1e}", f"{BAR:g}")
    Console().print(table)
    return int(max(found.values()) > BAR)


if __name__ == "__main__":
    sys.exit(main())
