"""What trainings take, measured once, so that a long one is told before it begins."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COSTS", "SAMPLES", "Cost", "cost_of"]


class Cost(NamedTuple):
    """Microseconds of one core that a sample takes.

    Attributes:
        forward: in an epoch of forward learning.
        feedback: in one of feedback learning.
    """

    forward: float
    feedback: float = 0.0


# Measured on one core in double precision, batches of 128, but 1x1000 one by one; right to a factor
# of two or three.
COSTS = {
    "3x256": {
        "bp": Cost(120),
        "dfa": Cost(70),
        "dfc": Cost(15_000, 650),
        "dfc-ss": Cost(140, 650),
        "dfc-ssa": Cost(130, 650),
    },
    "autoencoder": {
        "bp": Cost(370),
        "dfa": Cost(130),
        "dfc": Cost(65_000, 6_800),
        "dfc-ss": Cost(200_000, 6_800),
        "dfc-ssa": Cost(75_000, 6_800),
    },
    "1x1000": {
        "bp": Cost(4_500),
        "fa": Cost(4_500),
        "pbp": Cost(5_500),
        "ndi": Cost(5_500),
    },
    "5x256": {
        "bp": Cost(140),
        "dfa": Cost(110),
        "dtp": Cost(250),
        "dtp-pretrained": Cost(250, 130),
        "dtp-drl": Cost(270, 190),
        "ddtp-linear": Cost(270, 130),
        "ddtp-rhl": Cost(700, 450),
        "ddtp-rhl-rec": Cost(800, 550),
        "ddtp-control": Cost(260, 120),
    },
}
"""By network and rule."""

_WIDE = 11.3
"""How much more work 3072-1024-1024-1024-10 is than 784-5x256-10, by its weights."""

_NETWORKS = {
    "mnist": "3x256",
    "fashion-mnist": "3x256",
    "mnist-train": "3x256",
    "mnist-autoencoder": "autoencoder",
    "di-mnist": "1x1000",
    "di-mnist-random": "1x1000",
}

SAMPLES = {
    "mnist": 55000,
    "fashion-mnist": 55000,
    "cifar10": 45000,
    "mnist5000": 3600,
    "digits": 1294,
}
"""Samples that are learned from."""


def cost_of(preset: str, rule: str) -> Cost:
    """The cost of a sample with a preset.

    Args:
        preset: its name.
        rule: name of the rule.
    """
    found = COSTS[_NETWORKS.get(preset, "5x256")][rule]
    if preset.startswith("tp-cifar10"):
        return Cost(_WIDE * found.forward, _WIDE * found.feedback)
    return found
