"""Trained networks of other programs: PyTorch's, NumPy's and Keras's files, read without code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.importing.choosing import Imported, import_network
    from analogdfc.importing.layers import Layer, Other
    from analogdfc.importing.sequential import from_sequential
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.importing.choosing": ("Imported", "import_network"),
            "analogdfc.importing.layers": ("Layer", "Other"),
            "analogdfc.importing.sequential": ("from_sequential",),
        },
    )

__all__ = ["Imported", "Layer", "Other", "from_sequential", "import_network"]
