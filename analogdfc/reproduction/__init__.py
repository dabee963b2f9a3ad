"""Tables and figures of the papers, done again by name, with a verdict on each number.

An `Item` says which runs a table or figure needs, in full and in a short form, what the paper
prints and what follows from the runs; `ITEMS` has all by name, one module a paper.
"""

from analogdfc.reproduction.criterion import Interval, Published, Row
from analogdfc.reproduction.items import Item, Missing, Scope
from analogdfc.reproduction.keeping import Collected, collect, do
from analogdfc.reproduction.registry import ITEMS, get_item
from analogdfc.reproduction.training import Course, TrainingRun

__all__ = [
    "ITEMS",
    "Collected",
    "Course",
    "Interval",
    "Item",
    "Missing",
    "Published",
    "Row",
    "Scope",
    "TrainingRun",
    "collect",
    "do",
    "get_item",
]
