"""What two processes do together in the tests of `Ranks`; run as a program it is the second."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from analogdfc.activations import get_activation
from analogdfc.datasets import Dataset
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import DFC, Backpropagation, LearningRule, Ranks, make_rule
from analogdfc.network import Network
from analogdfc.training import Adam, Plan, Trainer

SIZES = (5, 4, 4, 4)
SAMPLES = 7  # of which one process has 4, the other 3

RULES = (
    *("bp", "shallow", "fa", "dfa", "dfc", "dfc-ss", "dfc-ssa", "ndi", "pbp", "gn", "mn", "gnt"),
    *("tp", "dtp", "dtp-drl", "ddtp-linear", "ddtp-rhl", "ddtp-control"),
)
"""Those whose forward updates draw no random numbers, and take no seconds."""

NEWTON: dict[str, Any] = {"dfc-ss": {"tolerance": 1e-14}}
"""What a sample stops at doesn't depend on the others any more."""


@contextmanager
def group(place: Path, rank: int) -> Iterator[Ranks]:
    """Two processes that find each other by a file."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{place}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        yield Ranks()
        dist.barrier()  # neither leaves while the other is still at its last step
    finally:
        dist.destroy_process_group()


def network(seed: int = 0) -> Network:
    return Network(SIZES, generator=torch.Generator().manual_seed(seed))


def batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, SIZES[0], dtype=torch.float64, generator=source)
    return x, torch.randn(SAMPLES, SIZES[-1], dtype=torch.float64, generator=source)


def rule_of(name: str) -> LearningRule:
    return make_rule(name, network(), **NEWTON.get(name, {}))


def gradients(rule: LearningRule) -> list[Tensor]:
    pathway = [] if rule.feedback is None else [*rule.feedback.parameters()]
    found = [p.grad for p in [*rule.network.parameters(), *pathway] if p.grad is not None]
    return [g.clone() for g in found]


def farthest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest difference, relative to the largest element of a parameter's gradient."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) for a, b in pairs)


def rules(ranks: Ranks) -> dict[str, float]:
    """Gradients of two processes against those of one, by rule."""
    x, y = batch()
    out = {}
    for name in RULES:
        together = rule_of(name)
        together.learn_with(ranks)
        mean = together.backward(ranks.share(x), ranks.share(y))
        if ranks.rank:
            continue
        alone = rule_of(name)
        loss = alone.backward(x, y)
        # Learned targets write gradients of their feedback too, from noise.
        count = 2 * (len(SIZES) - 1)
        out[name] = farthest(gradients(together)[:count], gradients(alone)[:count])
        out[f"{name}, loss"] = float((mean - loss).abs() / loss)
    return out


def noise(ranks: Ranks) -> list[list[Tensor]]:
    """Feedback updates from noise: of two processes, and of each by itself."""
    x, _ = batch()

    def update(generator: torch.Generator, part: Tensor, ranks: Ranks | None) -> list[Tensor]:
        rule = DFC(network(), generator=generator)
        if ranks is not None:
            rule.learn_with(ranks)
        rule.feedback_backward(part)
        return gradients(rule)

    def fresh(rank: int) -> torch.Generator:
        generator = torch.Generator().manual_seed(3)
        other = Ranks()
        other.rank = rank
        other.separate([generator])
        return generator

    together = update(torch.Generator().manual_seed(3), ranks.share(x), ranks)
    return [together, *(update(fresh(k), x[k::2], None) for k in (0, 1))]


def copied(ranks: Ranks) -> bool:
    """Whether processes that start from other weights have the same ones afterwards."""
    mine = network(seed=ranks.rank)
    rule = DFC(mine, DirectFeedback.transposed(mine))
    rule.learn_with(ranks)
    fixed = DirectFeedback.transposed(network())
    weights = zip(mine.weights, network().weights, strict=True)
    pathway = zip(rule.feedback.matrices, fixed.matrices, strict=True)
    return all(torch.equal(a, b) for a, b in [*weights, *pathway])


def failure(ranks: Ranks) -> str:
    """What a process is told where the rule of the other has failed."""
    rule = Backpropagation(network())
    rule.learn_with(ranks)
    x, y = batch()
    if ranks.rank == 1:
        wrong = get_activation("tanh")._replace(function=_broken)
        rule.network.activations = (wrong, *rule.network.activations[1:])
    try:
        rule.backward(ranks.share(x), ranks.share(y))
    except ConvergenceError as error:
        return str(error)
    except ArithmeticError:
        return "its own"
    return ""


def wrapped(_: Ranks) -> str:
    """What is said to who wraps a rule in PyTorch's own class, which needs a group."""
    try:
        DistributedDataParallel(Backpropagation(network()))
    except UserError as error:
        return str(error)
    return ""


def _broken(_: Tensor) -> Tensor:
    raise ArithmeticError


def trained(ranks: Ranks | None) -> list[Tensor]:
    """Weights after two epochs in mini-batches of four and three."""
    x, y = batch()
    rule = DFC(network(), steps=100)
    if ranks is not None:
        rule.learn_with(ranks)
    plan = Plan(epochs=2, batch_size=4, optimizer=Adam(lr=0.01))
    data = Dataset(x, y, x, y)
    trainer = Trainer(rule, data, plan, generator=torch.Generator().manual_seed(5))
    trainer.run()
    assert trainer.seen == 2 * SAMPLES
    return [p.detach().clone() for p in rule.network.parameters()]


TOGETHER: tuple[Callable[[Ranks], object], ...] = (
    rules,
    noise,
    copied,
    failure,
    wrapped,
    trained,
)
"""What both processes go through, in turn."""

if __name__ == "__main__":
    torch.set_num_threads(1)
    with group(Path(sys.argv[1]), rank=1) as second:
        for deed in TOGETHER:
            deed(second)
    # All is done and told. Threads of the group that are still there as the interpreter ends abort
    # it now and then, on a loaded machine.
    os._exit(0)
