"""All items by name."""

from __future__ import annotations

from difflib import get_close_matches

from analogdfc.errors import UserError
from analogdfc.reproduction import dfc, di, fa, fa_networks, tp
from analogdfc.reproduction.items import PAPERS, Item

__all__ = ["ITEMS", "get_item"]

_MODULES = (dfc, tp, di, fa, fa_networks)

ITEMS: dict[str, Item] = {item.name: item for module in _MODULES for item in module.ITEMS}
"""By 'PAPER/ITEM', paper after paper."""


def get_item(name: str) -> Item:
    """The item of that name.

    Args:
        name: such as 'dfc/table1'.

    Raises:
        UserError: there is none; the message says which are like it.
    """
    if name in ITEMS:
        return ITEMS[name]
    paper = name.lower().partition("/")[0]
    there = [one for one, item in ITEMS.items() if item.paper == paper] or [*ITEMS]
    if name.lower().strip("/") in PAPERS:
        raise UserError(f"{name!r} is a paper, of which one item is done: {', '.join(there)}")
    like = get_close_matches(name.lower(), there, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(like)}?" if like else "."
    raise UserError(f"no item {name!r}{meant} There are {', '.join(there)}")
