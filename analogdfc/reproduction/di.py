"""Figures of Podlaski and Machens 2020."""

from __future__ import annotations

from analogdfc.reproduction.items import Item, Unbuilt

__all__ = ["ITEMS"]

ITEMS: tuple[Item, ...] = (
    Unbuilt(
        "di/fig3",
        "Linear and nonlinear regression by dynamic inversion",
        "not written yet; benchmarks.inversion has part b",
    ),
    Unbuilt(
        "di/fig4",
        "MNIST classification and autoencoder by non-dynamic inversion",
        "not written yet",
    ),
)
"""In the order of the text."""
