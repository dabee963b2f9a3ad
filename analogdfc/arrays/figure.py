"""The figure of a product's error: by cause, and over the cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analogdfc.arrays.product_error import CrossbarError, Product
from analogdfc.drawing import Axes, Figure, MaxNLocator, headed, new_figure, own_settings

_ALONE, _WITHOUT, _TOTAL = "#0072B2", "#D55E00", "0.35"


def percent(share: float) -> str:
    """A share in percent, for people; a rounding error is 0.

    Args:
        share: dimensionless, >= 0.
    """
    return f"{100 * share:.3g}" if share > 1e-12 else "0"


@own_settings()
def product_figure(product: Product, found: CrossbarError, heading: str) -> Figure:
    """Errors by cause, and the maps of the cells: voltage lost on the lines, relative error.

    Args:
        product: what was measured.
        found: its error.
        heading: title of the figure.
    """
    rows, columns = product.shape
    # Maps in the shape of the array where that leaves them wide or high enough to be read.
    width = min(max(4.2 * columns / rows, 2.6), 5.5)
    out = new_figure(5.0 + 2 * (width + 1.2), 5.4)
    bars, loss, error = out.subplots(1, 3, width_ratios=[4.2, width, width])
    _bars(bars, found)
    _map(
        out,
        loss,
        100 * found.voltage_loss[0].numpy() / found.drive,
        "voltage lost on the lines",
        "rms, relative to the drive (%)",
        "viridis",
    )
    _map(
        out,
        error,
        100 * found.cell_error[0].numpy(),
        "error of a cell",
        "rms, relative to g_max - g_min (%)",
        "magma",
    )
    headed(out, *heading.split("\n"))
    return out


def _bars(axes: Axes, found: CrossbarError) -> None:
    """Two bars a cause, the error with all of them as a line."""
    names = list(found.causes)
    place = np.arange(len(names))
    values = {
        "alone": (-0.2, _ALONE, [100 * c.alone for c in found.causes.values()]),
        "all but this": (0.2, _WITHOUT, [100 * c.without for c in found.causes.values()]),
    }
    for label, (shift, colour, percents) in values.items():
        drawn = axes.barh(place + shift, percents, 0.36, color=colour, label=label)
        for text in axes.bar_label(
            drawn, [percent(v / 100) for v in percents], padding=3, fontsize=8
        ):
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    total = 100 * found.total
    axes.axvline(
        total,
        color=_TOTAL,
        linestyle="--",
        zorder=0.5,
        label=f"all causes: {percent(found.total)} %",
    )
    axes.set_yticks(place, names)
    axes.set_ylim(max(len(names), 4) - 0.5, -0.5)
    largest = max([total, *(v for _, _, percents in values.values() for v in percents)])
    axes.set_xlim(0, 1.17 * largest if largest > 1e-10 else 1)
    if not names:
        axes.text(0.5, 0.5, "no cause", transform=axes.transAxes, ha="center", color="0.5")
    axes.set_xlabel("NRMSE of the product (%)")
    axes.set_title("error by cause", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        axes.legend(
            fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.11), ncols=3, frameon=False
        )


def _map(
    out: Figure, axes: Axes, values: NDArray[np.float64], name: str, label: str, colours: str
) -> None:
    # A few stuck cells must not leave all others black.
    largest, usual = float(values.max()), float(np.quantile(values, 0.995))
    clipped = 0 < 1.5 * usual < largest
    top = (usual if clipped else largest) or 1.0
    image = axes.imshow(
        values, cmap=colours, aspect="auto", interpolation="nearest", vmin=0, vmax=top
    )
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("column (bit line)")
    axes.set_ylabel("row (word line)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    if largest == 0:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="white")
    bar = out.colorbar(
        image, ax=axes, location="right", pad=0.02, extend="max" if clipped else "neither"
    )
    most = f"; at most {largest:.3g}" if clipped else ""
    bar.set_label(f"{label}{most}", fontsize=9)
