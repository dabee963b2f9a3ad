"""Tables and figures of Meulemans et al. 2020, with what its text prints."""

from __future__ import annotations

from dataclasses import replace

from analogdfc.experiments.targets import DAMPINGS
from analogdfc.presets import load_preset
from analogdfc.reproduction import directions
from analogdfc.reproduction.angle_claims import (
    TABLE_S7,
    dampings,
    last_hidden_layer,
    target_layers,
)
from analogdfc.reproduction.angles import AngleFigure, TrainingSource
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.claims import ClaimsFigure
from analogdfc.reproduction.items import Item
from analogdfc.reproduction.nullspace import NullSpaceFigure
from analogdfc.reproduction.tables import TrainingTable

__all__ = ["ITEMS"]

_METHODS = {
    name: Method(name)
    for name in (
        *("bp", "ddtp-linear", "ddtp-rhl", "dtp-drl", "ddtp-control", "dtp", "dtp-pretrained"),
        *("dfa", "ddtp-rhl-rec"),
    )
} | {
    "ddtp-rhl-extra": Method("ddtp-rhl", variant="-extra"),
    "ddtp-rhl-rec-extra": Method("ddtp-rhl-rec", variant="-extra"),
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

_EXTRA = {
    "mnist": {"ddtp-rhl-extra": (2.12, 0.13), "ddtp-rhl-rec-extra": (2.21, 0.10)},
    "mnist-frozen": {"ddtp-rhl-extra": (5.34, 0.17), "ddtp-rhl-rec-extra": (5.36, 0.18)},
    "fashion-mnist": {"ddtp-rhl-extra": (11.13, 0.19), "ddtp-rhl-rec-extra": (11.74, 0.34)},
    "cifar10": {"ddtp-rhl-extra": (51.24, 0.44), "ddtp-rhl-rec-extra": (52.31, 0.44)},
}
_TABLE_S6 = {
    name: replace(column, values={**column.values, **_EXTRA[name]})
    for name, column in _TABLE1.items()
}


def _angles(preset: str, dataset: str) -> TrainingSource:
    """Trainings of which the angles to BP and to GNT, damped as in Table S7 too, are taken."""
    column = Column(preset=preset, figure="test error", dataset=dataset, values={})
    layers = len(load_preset(preset).experiment("bp").sizes) - 2
    of = {}
    for name, said in TABLE_S7.items():
        # CIFAR-10 has three hidden layers, and the paper's text no dampings of its own for it.
        damped = ":".join(f"{d:g}" for d in (*said[: layers - 1], said[-1]))
        of[name] = (_METHODS[name], f"BP,GNT,GNT:{damped}")
    return TrainingSource(column, of)


_FASHION = _angles("tp-fashion-mnist", "fashion-mnist")
_GRID = ",".join(f"GNT:{damping:g}" for damping in DAMPINGS)

ITEMS: tuple[Item, ...] = (
    NullSpaceFigure("tp/fig2", "Share of the updates that can't move the output, toy"),
    TrainingTable(
        "tp/table1",
        "Test errors on MNIST, frozen MNIST, Fashion-MNIST and CIFAR-10",
        seeds=10,
        methods=_METHODS,
        columns=_TABLE1,
    ),
    AngleFigure(
        "tp/fig4",
        "Angles of the last hidden layer's updates, Fashion-MNIST",
        source=_FASHION,
        seeds=1,
        shown="GNT",
        judge=last_hidden_layer,
    ),
    ClaimsFigure(
        "tp/s2",
        "Change of the output by GNT and BP updates, toy",
        seeds=5,
        make=directions.make,
        judge=directions.judge,
        cost=(3.0, 0.6),
        drawn=directions.DRAWN,
    ),
    TrainingTable(
        "tp/table-s6",
        "Table 1 with extra feedback training and recurrent feedback",
        seeds=10,
        methods=_METHODS,
        columns=_TABLE_S6,
    ),
    AngleFigure(
        "tp/table-s7",
        "Dampings of GN targets that align best, Fashion-MNIST",
        source=TrainingSource(
            replace(_FASHION.column, epochs=3),
            {name: (method, _GRID) for name, (method, _) in _FASHION.of.items()},
            every=20,
        ),
        seeds=1,
        shown="GNT:1",
        judge=dampings,
        share=1.0,
    ),
    *(
        AngleFigure(
            f"tp/s{3 + k}",
            f"Angles of all layers, {what}",
            source=source,
            seeds=1,
            shown="GNT:",
            judge=target_layers,
        )
        for k, (what, source) in enumerate(
            (
                ("Fashion-MNIST", _FASHION),
                ("MNIST", _angles("tp-mnist", "mnist")),
                ("CIFAR-10", _angles("tp-cifar10", "cifar10")),
            )
        )
    ),
)
"""In the order of the text."""
