"""What learning costs: digital baselines, and estimates of a chip."""

from analogdfc.estimation.digital import (
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
from analogdfc.estimation.digital_card import DigitalCard, builtin_digital_cards
from analogdfc.estimation.power import Power, measure_power

__all__ = [
    "DIGITAL_COLUMNS",
    "Band",
    "DigitalCard",
    "Operations",
    "Power",
    "Row",
    "baseline",
    "builtin_digital_cards",
    "digital_cells",
    "digital_energy",
    "measure_power",
    "operations",
    "sources",
    "spread",
    "training",
]
