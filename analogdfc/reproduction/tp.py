"""Tables and figures of Meulemans et al. 2020, with what its text prints."""

from __future__ import annotations

from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.items import Item, Unbuilt
from analogdfc.reproduction.nullspace import NullSpaceFigure
from analogdfc.reproduction.tables import TrainingTable

__all__ = ["ITEMS"]

_METHODS = {
    name: Method(name)
    for name in (
        *("bp", "ddtp-linear", "ddtp-rhl", "dtp-drl", "ddtp-control", "dtp", "dtp-pretrained"),
        *("dfa", "ddtp-rhl-rec"),
    )
}

_TABLE1 = {
    "mnist": Column(
        preset="tp-mnist",
        figure="test error",
        dataset="mnist",
        values={
            "bp": (1.98, 0.14),
            "ddtp-linear": (2.04, 0.08),
            "ddtp-rhl": (2.10, 0.14),
            "dtp-drl": (2.21, 0.09),
            "ddtp-control": (2.51, 0.08),
            "dtp": (2.39, 0.19),
            "dtp-pretrained": (2.26, 0.18),
            "dfa": (2.17, 0.14),
        },
    ),
    "mnist-frozen": Column(
        preset="tp-mnist-frozen",
        figure="test error",
        dataset="mnist",
        values={
            "bp": (4.39, 0.13),
            "ddtp-linear": (6.42, 0.17),
            "ddtp-rhl": (5.11, 0.19),
            "dtp-drl": (6.10, 0.17),
            "ddtp-control": (9.70, 0.31),
            "dtp": (10.64, 0.53),
            "dtp-pretrained": (9.31, 0.40),
        },
    ),
    "fashion-mnist": Column(
        preset="tp-fashion-mnist",
        figure="test error",
        dataset="fashion-mnist",
        values={
            "bp": (10.74, 0.16),
            "ddtp-linear": (11.11, 0.35),
            "ddtp-rhl": (11.53, 0.31),
            "dtp-drl": (11.22, 0.20),
            "ddtp-control": (11.71, 0.28),
            "dtp": (11.49, 0.23),
            "dtp-pretrained": (11.52, 0.31),
            "dfa": (11.26, 0.25),
        },
    ),
    "cifar10": Column(
        preset="tp-cifar10",
        figure="test error",
        dataset="cifar10",
        values={
            "bp": (45.60, 0.50),
            "ddtp-linear": (50.36, 0.26),
            "ddtp-rhl": (51.94, 0.49),
            "dtp-drl": (50.80, 0.43),
            "ddtp-control": (51.75, 0.43),
            "dtp": (51.74, 0.30),
            "dtp-pretrained": (52.20, 0.50),
            "dfa": (51.28, 0.41),
        },
    ),
}

_ALIGNMENT = "curves of alignment during a training aren't taken yet"

ITEMS: tuple[Item, ...] = (
    NullSpaceFigure("tp/fig2", "Share of the updates that can't move the output, toy"),
    TrainingTable(
        "tp/table1",
        "Test errors on MNIST, frozen MNIST, Fashion-MNIST and CIFAR-10",
        seeds=10,
        methods=_METHODS,
        columns=_TABLE1,
    ),
    Unbuilt("tp/fig4", "Angles of the last hidden layer's updates, Fashion-MNIST", _ALIGNMENT),
    Unbuilt(
        "tp/s2",
        "Change of the output by GNT and BP updates, toy",
        "the directions are measured (`experiments.output_direction`), the figure isn't drawn yet",
    ),
    Unbuilt(
        "tp/table-s6",
        "Table 1 with extra feedback training and recurrent feedback",
        "the presets lack the settings with extra feedback",
    ),
    Unbuilt(
        "tp/table-s7",
        "Dampings of GN targets that align best, Fashion-MNIST",
        "a damping for each layer isn't searched for yet",
    ),
    Unbuilt("tp/s3", "Angles of all layers, Fashion-MNIST", _ALIGNMENT),
    Unbuilt("tp/s4", "Angles of all layers, MNIST", _ALIGNMENT),
    Unbuilt("tp/s5", "Angles of all layers, CIFAR-10", _ALIGNMENT),
)
"""In the order of the text."""
