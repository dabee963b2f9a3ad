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
        "dfc-ss simulated": Cost(15_000, 650),
        "dfc-ssa": Cost(130, 650),
        "dtp": Cost(170),
        "ddtp-linear": Cost(180, 90),
    },
    "autoencoder": {
        "bp": Cost(370),
        "dfa": Cost(130),
        "dfc": Cost(65_000, 900),
        "dfc-ss": Cost(200_000, 900),
        "dfc-ss simulated": Cost(90_000, 900),
        "dfc-ssa": Cost(9_000, 900),
        "dtp": Cost(500),
        "ddtp-linear": Cost(1_000, 500),
    },
    "1x1000": {
        "bp": Cost(1_200),
        "fa": Cost(1_200),
        "pbp": Cost(1_500),
        "ndi": Cost(1_900),
    },
    "classes": {
        "bp": Cost(400),
        "fa": Cost(400),
    },
    "di-autoencoder": {
        "bp": Cost(220),
        "fa": Cost(220),
        "pbp": Cost(900),
        "ndi": Cost(650),
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

_AS_LARGE = {
    "fa-mnist": 0.5,
    "fa-mnist-3x1500": 3.0,
    "fa-mnist-3x1500-dropout": 3.5,
    "fa-mnist-3x1500-piecewise": 3.5,
    "fa-mnist-10x1000": 5.0,
    "fa-svhn": 12.0,
    "fa-timit": 0.6,
    "fa-autoencoder-narrow": 2.0,
    "fa-autoencoder-wide": 3.5,
}
"""Networks of Lillicrap et al. beside that of their costs, by their weights."""

_NETWORKS = {
    "mnist": "3x256",
    "fashion-mnist": "3x256",
    "mnist-train": "3x256",
    "mnist-autoencoder": "autoencoder",
    "di-mnist": "1x1000",
    "di-mnist-random": "1x1000",
    "di-autoencoder": "di-autoencoder",
    "di-autoencoder-orthogonal": "di-autoencoder",
    "tp-mnist-3x256": "3x256",
    "tp-fashion-mnist-3x256": "3x256",
    "tp-mnist-autoencoder": "autoencoder",
    **dict.fromkeys(_AS_LARGE, "classes"),
}

SAMPLES = {
    "mnist": 55000,
    "fashion-mnist": 55000,
    "cifar10": 45000,
    "mnist5000": 3600,
    "digits": 1294,
    "svhn": 599388,
    "timit-stops": 57493,
}
"""Samples that are learned from."""


def cost_of(preset: str, rule: str, simulate: bool = False) -> Cost:
    """The cost of a sample with a preset.

    Args:
        preset: its name.
        rule: name of the rule.
        simulate: a rule of the steady state simulates its loop.
    """
    found = COSTS[_NETWORKS.get(preset, "5x256")][f"{rule} simulated" if simulate else rule]
    if (size := _AS_LARGE.get(preset)) is not None:
        return Cost(size * found.forward)
    if preset.startswith("tp-cifar10"):
        return Cost(_WIDE * found.forward, _WIDE * found.feedback)
    return found
