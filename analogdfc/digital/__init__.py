"""The same training on digital machines, counted operation by operation."""

from analogdfc.digital.training import (
    DIGITAL_COLUMNS,
    Band,
    Operations,
    Row,
    baseline,
    digital_cells,
    digital_energy,
    operations,
    sources,
    spread,
    training,
)

__all__ = [
    "DIGITAL_COLUMNS",
    "Band",
    "Operations",
    "Row",
    "baseline",
    "digital_cells",
    "digital_energy",
    "operations",
    "sources",
    "spread",
    "training",
]
