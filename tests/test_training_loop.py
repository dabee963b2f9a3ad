"""The loop of all trainings: which samples when, when figures are taken and what ends it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import generator, normal
from torch import Tensor

import analogdfc
from analogdfc.datasets import Dataset, Samples
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning import Backpropagation
from analogdfc.network import Network
from analogdfc.training import (
    SGD,
    Budget,
    Epochs,
    Metrics,
    Patience,
    Phase,
    Plan,
    Reached,
    Schedule,
    Stop,
    Trainer,
    Training,
    train,
)
from analogdfc.training.loop import shuffled

COUNT, BATCH = 10, 4


def numbered(count: int = COUNT) -> Samples:
    """Samples whose only input is their number."""
    x = torch.arange(count, dtype=torch.float64).unsqueeze(1)
    return Samples(x, x)


def itself(figure: float) -> float:
    return figure


def training_of(
    stop: Stop[float],
    *,
    figures: Iterable[float] = (),
    schedule: Schedule | None = None,
    phases: Callable[[list[tuple[str, list[int]]]], list[Phase]] | None = None,
) -> tuple[Training[float], list[tuple[str, list[int]]]]:
    """A training that writes down what it has seen; its figures are given, then 0."""
    seen: list[tuple[str, list[int]]] = []
    values = iter(figures)
    training = Training[float](
        numbered(),
        (phases or (lambda seen: [noting(seen, "forward")]))(seen),
        batch_size=BATCH,
        stop=stop,
        evaluate=lambda: next(values, 0.0),
        schedule=schedule,
    )
    return training, seen


def noting(
    seen: list[tuple[str, list[int]]], name: str, *, loss: float = 0.0, counts: bool = True
) -> Phase:
    def step(x: Tensor, y: Tensor) -> float:
        assert torch.equal(x, y)
        seen.append((name, [int(n) for n in x[:, 0]]))
        return loss

    return Phase(name, step, torch.arange, counts)


def test_the_phases_of_an_epoch_come_in_turn_and_only_forward_samples_count() -> None:
    training, seen = training_of(
        Epochs(2),
        phases=lambda seen: [
            noting(seen, "feedback", loss=7.0, counts=False),
            noting(seen, "forward", loss=3.0),
        ],
    )
    told: list[tuple[str, int]] = []
    done: list[int] = []
    training.run(lambda *what: told.append(what), lambda t: done.append(t.epochs))
    assert [name for name, _ in seen[::3]] == ["feedback", "forward"] * 2
    assert told == [(name, len(numbers)) for name, numbers in seen]
    assert (training.seen, training.epochs, training.mean_loss) == (2 * COUNT, 2, 3.0)
    assert done == [1, 2]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_each_pass_shows_every_sample_once_in_a_new_order(
    count: int, batch_size: int, seed: int
) -> None:
    passes: list[list[int]] = [[], [], []]

    def step(x: Tensor, _: Tensor) -> float:
        passes[training.epochs].extend(int(n) for n in x[:, 0])
        return float(x.sum()) / len(x)

    training = Training[float](
        numbered(count),
        [Phase("forward", step, shuffled(generator(seed)))],
        batch_size=batch_size,
        stop=Epochs(3),
        evaluate=lambda: training.mean_loss,
    )
    training.run()
    assert [sorted(numbers) for numbers in passes] == [list(range(count))] * 3
    # A mean over samples, not over mini-batches, of which the last may be smaller.
    assert training.history == pytest.approx([(count - 1) / 2] * 3)
    source = generator(seed)
    assert passes == [torch.randperm(count, generator=source).tolist() for _ in range(3)]


def test_a_budget_of_samples_ends_within_an_epoch_whose_figures_are_not_taken() -> None:
    training, seen = training_of(Budget(COUNT + BATCH + 1))
    training.run()
    assert (training.seen, training.epochs, len(training.history)) == (COUNT + 2 * BATCH, 1, 1)
    assert seen[-1] == ("forward", [4, 5, 6, 7])


def test_a_budget_that_ends_with_an_epoch_completes_it() -> None:
    training, _ = training_of(Budget(2 * COUNT))
    training.run()
    assert (training.seen, training.epochs, len(training.history)) == (2 * COUNT, 2, 2)


def test_nothing_is_learned_where_the_rule_is_met_from_the_start() -> None:
    for stop in (Epochs(0), Budget(0), Epochs(9) | Budget(0)):
        training, seen = training_of(stop)
        training.run()
        assert training.finished
        assert not seen
        assert not training.history


def test_figures_are_taken_at_the_start_every_so_many_samples_and_at_the_end() -> None:
    at: list[int] = []
    training, _ = training_of(Epochs(2), schedule=Schedule(every=7, start=True))

    def note() -> float:
        at.append(training.seen)
        return 0.0

    training.evaluate = note
    training.run()
    # Mini-batches end at 4, 8, 10, 14, 18, 20; multiples of 7 are passed at 8 and 14.
    assert at == [0, 8, 14, 20]


def test_training_ends_at_the_first_figures_that_meet_the_target() -> None:
    figures = [0.1, 0.6, 0.5, 0.9, 0.2]
    cases: list[tuple[Stop[float], int]] = [
        (Reached(0.55, itself), 2),
        (Reached(0.1, itself, rising=False), 1),
        (Reached(0.95, itself) | Epochs(4), 4),
    ]
    for stop, epochs in cases:
        training, _ = training_of(stop, figures=figures)
        training.run()
        assert training.history == figures[:epochs]


def test_a_target_met_between_two_epochs_ends_training_there() -> None:
    stop = Reached(0.5, itself)
    training, seen = training_of(stop, figures=[0.4, 0.7], schedule=Schedule(every=4))
    training.run()
    assert (training.seen, training.epochs, len(seen)) == (8, 0, 2)
    assert training.history == [0.4, 0.7]


def test_patience_counts_from_the_first_of_the_best_figures() -> None:
    training, _ = training_of(
        Patience(2, itself) | Epochs(9), figures=[0.5, 0.3, 0.4, 0.3, 0.2, 0.2, 0.3]
    )
    training.run()
    # The third and fourth bring nothing better than the second: 0.3 again is no progress.
    assert training.history == [0.5, 0.3, 0.4, 0.3]


def test_optimisers_step_in_one_loop_alone() -> None:
    # Beside it, only what times a single step calls an optimiser, and the optimiser of devices the
    # digital one within it.
    root = Path(analogdfc.__file__).parent
    stepping = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"^(?!.*>>>).*\.step\(\)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    alone = {"training/loop.py", "training/trainer.py"}
    assert stepping - {"digital/measured.py", "arrays/optimizer.py"} == alone


def small_data() -> Dataset:
    x, y = normal(0, 30, 3), normal(1, 30, 2)
    return Dataset(x, y, x[:5], y[:5], None)


def test_a_trainer_ends_early_where_its_figures_meet_a_target() -> None:
    def trainer(stop: Stop[Metrics] | None) -> Trainer:
        rule = Backpropagation(Network([3, 4, 2], generator=generator(2)))
        plan = Plan(epochs=20, batch_size=5, optimizer=SGD(lr=0.05))
        return Trainer(rule, small_data(), plan, generator=generator(3), stop=stop)

    whole = trainer(None)
    whole.run()
    losses = [m.test.loss for m in whole.history]
    target = losses[6]
    first = next(i for i, loss in enumerate(losses) if loss <= target)
    short = trainer(Reached(target, lambda m: m.test.loss, rising=False))
    short.run()
    assert short.history == whole.history[: first + 1]
    again = trainer(None)
    again.take_up(short.history)
    assert (again.epochs, again.seen) == (first + 1, 30 * (first + 1))
    assert again.samples == 30 * (20 - first - 1)


def test_a_loss_that_is_no_number_ends_plain_training_before_its_step() -> None:
    network = Network([3, 4, 2], generator=generator(2))
    before = [p.detach().clone() for p in network.parameters()]
    data = small_data()._replace(y=torch.full((30, 2), math.inf, dtype=torch.float64))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(ConvergenceError, match="left the finite numbers"):
        train(
            Backpropagation(network),
            optimizer,
            data,
            epochs=1,
            batch_size=5,
            generator=generator(0),
        )
    assert all(map(torch.equal, before, network.parameters()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Epochs(-1), "epochs = -1"),
        (lambda: Budget(-1), "samples = -1"),
        (lambda: Patience(0, itself), "patience = 0"),
        (lambda: Schedule(every=0), "every = 0"),
        (
            lambda: Training(numbered(), [], batch_size=0, stop=Epochs(1), evaluate=lambda: 0.0),
            "batch_size = 0",
        ),
    ],
)
def test_what_makes_no_training_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
