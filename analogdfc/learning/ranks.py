"""Learning by several processes, each from its share of every batch.

Rules write gradients instead of having autograd find them, so that the hooks of PyTorch's
`DistributedDataParallel` never fire. Here is the one place where the gradients are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from analogdfc.errors import ConvergenceError, UserError

__all__ = ["Ranks", "check_not_wrapped"]

WRAPPED = (
    "torch.nn.parallel.DistributedDataParallel averages what autograd finds, and learning rules "
    "write their gradients themselves: its hooks would never fire and every process would learn "
    "alone. Leave it out and call rule.learn_with(Ranks())"
)


def check_not_wrapped(*modules: object) -> None:
    """Make sure that no module is one whose hooks would never fire.

    Args:
        modules: what a rule is given.

    Raises:
        UserError: one of them is wrapped in `DistributedDataParallel`.
    """
    if any(isinstance(module, DistributedDataParallel) for module in modules):
        raise UserError(WRAPPED)


class Ranks:
    """The processes of a group of `torch.distributed`, whose rules learn together.

    Args:
        group: the group, of any backend that has the parameters' device (gloo, nccl); by default
            that of all processes.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.

    Raises:
        UserError: `torch.distributed` has no group yet.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise UserError(
                "torch.distributed has no process group: call "
                "torch.distributed.init_process_group(backend) before, with gloo for the CPU or "
                "nccl for GPUs"
            )
        self.group = group
        self.rank, self.count = dist.get_rank(group), dist.get_world_size(group)

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch that is this process's: every so-manieth of its first dimension.

        Args:
            batch: samples, or their indices, (batch, ...), the same in all processes.

        Raises:
            UserError: fewer samples than processes.
        """
        if len(batch) < self.count:
            raise UserError(
                f"a batch of {len(batch)} samples for {self.count} processes: each needs one"
            )
        return batch[self.rank :: self.count]

    def separate(self, generators: Iterable[torch.Generator]) -> None:
        """Give this process random numbers of its own, from each generator's seed and the rank.

        Rank 0 keeps the numbers of a process that learns alone.

        Args:
            generators: each starts again.
        """
        for generator in generators:
            seed = generator.initial_seed()
            if self.rank:
                words = np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)
                seed = int(words[0] >> np.uint64(1))
            generator.manual_seed(seed)

    def copy_first(self, parameters: Iterable[Tensor]) -> None:
        """Give all processes the parameters of rank 0.

        Args:
            parameters: of the same shapes everywhere.
        """
        first = 0 if self.group is None else dist.get_global_rank(self.group, 0)
        with torch.no_grad():
            for parameter in parameters:
                dist.broadcast(parameter.detach(), first, self.group)

    def average(
        self, parameters: Iterable[nn.Parameter], samples: int, loss: Tensor | None
    ) -> Tensor | None:
        """Average gradients over all processes, each by its number of samples.

        Args:
            parameters: whose `.grad` is averaged in place; those without one have none in any
                process.
            samples: this process's share of the batch; 0 where its rule has failed.
            loss: mean loss of this share, a scalar; None where there is none.

        Returns:
            The mean loss of the whole batch; None where there is none.

        Raises:
            ConvergenceError: the rule of another process has failed.
            UserError: a parameter has a gradient in some processes only.
        """
        known = list(parameters)
        written = [p.grad for p in known if p.grad is not None]
        first = known[0]
        here = 0.0 if loss is None or not samples else samples * float(loss)
        told = [float(samples), float(samples == 0), here, *(p.grad is not None for p in known)]
        sums = torch.tensor(told, dtype=torch.float64, device=first.device)
        dist.all_reduce(sums, group=self.group)
        total, failed, whole, *having = sums.tolist()
        if failed:
            if not samples:
                return None
            raise ConvergenceError(f"the rule of {failed:.0f} of {self.count} processes has failed")
        if any(n not in (0, self.count) for n in having):
            raise UserError("a parameter has a gradient in some of the processes only")
        for kind in dict.fromkeys(g.dtype for g in written):
            alike = [g for g in written if g.dtype == kind]
            flat = torch.cat([g.detach().flatten() for g in alike]).mul_(samples / total)
            dist.all_reduce(flat, group=self.group)
            parts = torch.split(flat, [g.numel() for g in alike])
            for gradient, mean in zip(alike, parts, strict=True):
                gradient.copy_(mean.view_as(gradient))
        return None if loss is None else loss.new_tensor(whole / total)
