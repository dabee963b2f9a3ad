"""What `characterise` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from analogdfc.characterise import Conditions, Sheet
from analogdfc.cli._console import make_console


def show(cases: Sequence[Conditions], sheets: Sequence[Sheet]) -> None:
    """Print the data sheet, one column for each set of conditions."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    first = sheets[0]
    table = Table(title=f"Data sheet: {first.cell}", title_justify="left")
    table.add_column("quantity")
    for case in cases:
        table.add_column(case.short, justify="right", no_wrap=True)
    for key, number in first.numbers.items():
        table.add_row(number.label, *(sheet.numbers[key].text for sheet in sheets))
    console.print(table)
    for sheet in sheets:
        for remark in sheet.remarks:
            say(f"Warning: {sheet.conditions}: {remark}", "bold")
    for made_by in dict.fromkeys(sheet.made_by for sheet in sheets):
        say(f"simulated by {made_by}", "dim")


def numbers(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """The data sheets for `--json`, in SI units."""
    return {
        "cell": sheets[0].cell,
        "sheets": [
            {
                "conditions": sheet.conditions,
                "made_by": sheet.made_by,
                "numbers": {
                    key: {"value": n.value, "unit": n.unit, "error": n.error}
                    for key, n in sheet.numbers.items()
                },
            }
            for sheet in sheets
        ],
    }
