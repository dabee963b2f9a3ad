"""Two processes learn what one does: gradients averaged over ranks, in one place."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest
import ranked
import torch
from torch.nn.parallel import DistributedDataParallel

from analogdfc.errors import UserError
from analogdfc.learning import DFC, Ranks, make_rule


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first of two processes has found."""
    place = tmp_path_factory.mktemp("ranks") / "store"
    other = subprocess.Popen([sys.executable, ranked.__file__, str(place)], stderr=subprocess.PIPE)
    try:
        with ranked.group(place, rank=0) as ranks:
            out = {deed.__name__: deed(ranks) for deed in ranked.TOGETHER}
        _, told = other.communicate(timeout=60)
        assert other.returncode == 0, told.decode()
    finally:
        other.kill()
        other.communicate()
    return out


def test_two_processes_have_the_gradients_of_one(found: dict[str, Any]) -> None:
    assert {name: off for name, off in found["rules"].items() if off > 1e-12} == {}
    assert len(found["rules"]) == 2 * len(ranked.RULES)  # with the losses


def test_each_draws_noise_of_its_own(found: dict[str, Any]) -> None:
    together, first, second = found["noise"]
    for mean, a, b in zip(together, first, second, strict=True):
        torch.testing.assert_close(mean, (4 * a + 3 * b) / 7, rtol=1e-12, atol=1e-14)
        assert not torch.allclose(a, b, rtol=0.1)


def test_all_start_from_the_first(found: dict[str, Any]) -> None:
    assert found["copied"] is True


def test_a_failure_in_one_ends_all(found: dict[str, Any]) -> None:
    assert found["failure"] == "the rule of 1 of 2 processes has failed"


def test_training_is_that_of_one_process(found: dict[str, Any]) -> None:
    for ours, theirs in zip(found["trained"], ranked.trained(None), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_without_a_group_there_are_no_ranks() -> None:
    with pytest.raises(UserError, match="init_process_group"):
        Ranks()


def test_a_generator_starts_again_by_its_seed_and_the_rank() -> None:
    ranks = Ranks.__new__(Ranks)
    draws = []
    for ranks.rank in (0, 1, 2, 1):
        generator = torch.Generator().manual_seed(7)
        torch.rand(5, generator=generator)
        ranks.separate([generator])
        draws.append(torch.rand(4, generator=generator))
    torch.testing.assert_close(draws[0], torch.rand(4, generator=torch.Generator().manual_seed(7)))
    torch.testing.assert_close(draws[1], draws[3])
    assert len({float(d[0]) for d in draws}) == 3


def test_a_batch_that_leaves_a_process_without_samples_is_refused() -> None:
    ranks = Ranks.__new__(Ranks)
    ranks.rank, ranks.count = 0, 3
    assert ranks.share(torch.arange(7)).tolist() == [0, 3, 6]
    with pytest.raises(UserError, match="2 samples for 3 processes"):
        ranks.share(torch.arange(2))


def test_what_would_never_average_is_refused(found: dict[str, Any]) -> None:
    class Wrapped(DistributedDataParallel):
        """As the class itself makes them, which needs a group."""

        def __init__(self, module: torch.nn.Module) -> None:
            torch.nn.Module.__init__(self)
            self.module = module

    with pytest.raises(UserError, match="its hooks would never fire"):
        DFC(cast(Any, Wrapped(ranked.network())))
    with pytest.raises(UserError, match="its hooks would never fire"):
        make_rule("dfc", cast(Any, Wrapped(ranked.network())))
    assert "its hooks would never fire" in found["wrapped"]
