"""The default network learns the digits by DFC."""

from __future__ import annotations

import pytest
import torch

from analogdfc.datasets import digits
from analogdfc.errors import UserError
from analogdfc.learning import DFC
from analogdfc.network import Network
from analogdfc.training import accuracy, train


def test_pooled_digits_are_means_of_four_pixels() -> None:
    fine, coarse = digits(8), digits(4)
    image = fine.x_test[7].reshape(8, 8)
    assert torch.allclose(coarse.x_test[7].reshape(4, 4)[1, 2], image[2:4, 4:6].mean())
    assert torch.equal(fine.y_test, coarse.y_test)
    assert len(fine.x) + len(fine.x_test) == 1797
    assert float(fine.x.min()) >= 0
    assert float(fine.x.max()) <= 1


def test_no_image_is_both_learned_and_held_out() -> None:
    data = digits(8)
    learned = {tuple(row) for row in data.x.tolist()}
    held_out = [tuple(row) for row in data.x_test.tolist()]
    assert sum(row in learned for row in held_out) == 0


def test_dfc_learns_the_digits_and_the_same_seed_gives_the_same_weights() -> None:
    data = digits(4)
    networks = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(1)
        network = Network([16, 10, 10], generator=generator)
        rule = DFC(network, target_stepsize=0.25, dt=0.05, steps=60)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        losses = train(rule, optimizer, data, epochs=2, batch_size=64, generator=generator)
        assert losses[1] < 0.75 * losses[0]
        networks.append(network)
    assert accuracy(networks[0], data.x_test, data.y_test) > 0.6
    for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_sizes_and_epochs_below_one_are_refused() -> None:
    network = Network([16, 10])
    rule = DFC(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(UserError, match="epochs = 0"):
        train(rule, optimizer, digits(4), epochs=0, batch_size=1, generator=torch.Generator())
    with pytest.raises(UserError, match="4 x 4 and 8 x 8"):
        digits(5)
