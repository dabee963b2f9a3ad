"""Matplotlib as figures here use it: its own settings and canvas, whatever the user's are.

Whoever draws takes the names of matplotlib from here, so that it is imported in one way.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from analogdfc.errors import UserError

__all__ = ["headed", "new_figure", "own_settings"]

_BACKEND = "MPLBACKEND"

_LETTERS = 11
"""Letters of a heading that an inch holds."""


@contextmanager
def _without_backend() -> Iterator[None]:
    """Import matplotlib within it.

    It refuses to be imported where the environment names a backend that there isn't; only windows
    need one, and no figure here has a window.
    """
    asked = "" if "matplotlib" in sys.modules else os.environ.pop(_BACKEND, "")
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(
            f"matplotlib can't read its settings, a file 'matplotlibrc' of yours: {error}; write "
            "it in UTF-8, or name another one in $MATPLOTLIBRC"
        ) from error
    finally:
        if asked:
            os.environ[_BACKEND] = asked
    if asked:
        # For whoever opens windows in the same program.
        with suppress(ValueError):
            sys.modules["matplotlib"].rcParams["backend"] = asked


with _without_backend():
    from matplotlib import colormaps as colormaps
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.axes import Axes as Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Colormap as Colormap
    from matplotlib.colors import Normalize as Normalize
    from matplotlib.figure import Figure as Figure
    from matplotlib.ticker import EngFormatter as EngFormatter
    from matplotlib.ticker import FormatStrFormatter as FormatStrFormatter
    from matplotlib.ticker import MaxNLocator as MaxNLocator
    from matplotlib.ticker import NullFormatter as NullFormatter
    from matplotlib.ticker import ScalarFormatter as ScalarFormatter

_SETTINGS: dict[Any, Any] = {k: v for k, v in rcParamsDefault.items() if k != "backend"}


@contextmanager
def own_settings() -> Iterator[None]:
    """Within it, and in a function that it decorates, matplotlib has the settings it ships with.

    Those of the user, such as LaTeX for all texts, would change what a figure shows, or end it.
    """
    with rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on a canvas that needs no display.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headed(figure: Figure, *lines: str) -> None:
    """Give a figure a heading over all of its panels.

    Args:
        figure: the figure.
        lines: of the heading, from the top; each is broken where the figure isn't wide enough.
    """
    most = int(_LETTERS * figure.get_figwidth())
    broken = [part for line in lines for part in textwrap.wrap(line, most)]
    # A dollar sign would begin a formula.
    figure.suptitle("\n".join(broken).replace("$", r"\$"), fontsize=10)
