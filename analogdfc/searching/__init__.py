"""Search for hyperparameters, as the papers searched for theirs.

`Search` says what: a published preset and rule, whose paper's intervals are the space. `search` is
the driver. Each trial is trained from rung to rung by whatever `analogdfc.jobs` has for it; what is
decided and found stands in a `Journal`, from which an interrupted search goes on.
"""

from analogdfc.searching.figure import search_figure
from analogdfc.searching.journal import Journal, Trial
from analogdfc.searching.report import numbers, preset_text, search_tree
from analogdfc.searching.spaces import Variable, space_of
from analogdfc.searching.study import best_of, importance, search
from analogdfc.searching.trials import Rung, Search

__all__ = [
    "Journal",
    "Rung",
    "Search",
    "Trial",
    "Variable",
    "best_of",
    "importance",
    "numbers",
    "preset_text",
    "search",
    "search_figure",
    "search_tree",
    "space_of",
]
