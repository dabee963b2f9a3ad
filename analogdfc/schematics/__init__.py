"""Drawings of a netlist's cells with their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.schematics.cells import Cell, Part, cells_of, shown_value
    from analogdfc.schematics.drawing import (
        check_schemdraw,
        draw,
        drawings,
        write_schematics,
    )
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.schematics.cells": ("Cell", "Part", "cells_of", "shown_value"),
            "analogdfc.schematics.drawing": (
                "check_schemdraw",
                "draw",
                "drawings",
                "write_schematics",
            ),
        },
    )

__all__ = [
    "Cell",
    "Part",
    "cells_of",
    "check_schemdraw",
    "draw",
    "drawings",
    "shown_value",
    "write_schematics",
]
