"""Records: the HDF5 files that every computing command writes and the next one reads.

A record is a tree. Its branches are HDF5 groups; its leaves are arrays (HDF5 datasets, with their
unit as the attribute `units`) and single texts and numbers (attributes of their group):

    {"seed": 7, "card": "[card] ...", "ideal": {"t": Quantity(t, "s"), "v1": Quantity(v1, "V")}}

A file is written under a temporary name and renamed when it is whole, so there is never half a
record, and an old one stays as it was until the new one takes its place. The same tree gives the
same bytes: nothing in the file depends on when or where it was written. The
attribute `analogdfc_format` of the file marks a record and says in which format it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.records.origin import check_texts, provenance, remarks_tree
    from analogdfc.records.reading import arrays, matrices, read, read_array
    from analogdfc.records.tree import FORMAT, Branch, Leaf, Quantity, Record, Scalar, Tree
    from analogdfc.records.writing import check_writable, write
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.records.origin": ("check_texts", "provenance", "remarks_tree"),
            "analogdfc.records.reading": ("arrays", "matrices", "read", "read_array"),
            "analogdfc.records.tree": (
                "FORMAT",
                "Branch",
                "Leaf",
                "Quantity",
                "Record",
                "Scalar",
                "Tree",
            ),
            "analogdfc.records.writing": ("check_writable", "write"),
        },
    )

__all__ = [
    "FORMAT",
    "Branch",
    "Leaf",
    "Quantity",
    "Record",
    "Scalar",
    "Tree",
    "arrays",
    "check_texts",
    "check_writable",
    "matrices",
    "provenance",
    "read",
    "read_array",
    "remarks_tree",
    "write",
]
