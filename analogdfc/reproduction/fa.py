"""Figures and notes of the supplement of Lillicrap et al. 2016."""

from __future__ import annotations

from analogdfc.reproduction.items import Item, Unbuilt

__all__ = ["ITEMS"]

_LATER = "not written yet"
_NOT_RUN = {
    "fa/fig2": ("Linear task 30-20-10 of the main text", "the main text isn't among the five"),
    "fa/s5": ("Receptive fields on MNIST", "receptive fields aren't drawn yet"),
    "fa/s6": ("Frozen first layer, 30-20-10-10", _LATER),
    "fa/s7": ("XOR", _LATER),
    "fa/s8": ("Momentum", _LATER),
    "fa/s9": ("20-1000-20 on a nonlinear function", _LATER),
    "fa/s10": ("Flow field of three neurons", _LATER),
    "fa/s11": ("Learning A and W in turn and together, 30-20-10", _LATER),
    "fa/s12": ("The same, 100-50-20", _LATER),
    "fa/s13": ("Small initial weights and the pseudoinverse", _LATER),
    "fa/s14": ("From backpropagation to feedback alignment", _LATER),
    "fa/note5": ("Larger and deeper networks on MNIST", _LATER),
    "fa/note6": ("SVHN", "the data set isn't supported"),
    "fa/note7": ("TIMIT", "the data set isn't supported"),
    "fa/note9": ("Narrow and wide autoencoders on MNIST", _LATER),
}

ITEMS: tuple[Item, ...] = tuple(
    Unbuilt(name, title, reason) for name, (title, reason) in _NOT_RUN.items()
)
"""In the order of the text."""
