"""A page of the documentation as a notebook: its words and its blocks of Python, without what they print.

``python docs/theme/notebook.py`` writes those that are in `docs/examples`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "notebook", "path_of"]

DOCS = Path(__file__).parents[1]
PAGES = ("beat-your-holdout",)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
# What only a site has: references to equations, figures that a cell of the notebook shows itself, links between pages.
OF_A_SITE = (
    (r" \(Eqs?\. \[\]\([^)]*\)(?: and \[\]\([^)]*\))*\)", ""),
    (r"^!\[.*\]\(.*\)\n|^This page \[as a notebook\].*\n", ""),
    (r"\]\((?!http)((?:\.\./)?[\w/-]+\.md)", r"](../\1"),
)


def notebook(page: str) -> dict[str, Any]:
    """Make the notebook of a page.

    Parameters
    ----------
    page : str
        Its name, without suffix.

    Returns
    -------
    dict
        As the file holds it, with no outputs.
    """
    cells: list[dict[str, Any]] = []

    def add(kind: str, text: str) -> None:
        if text.strip():
            code = {"execution_count": None, "outputs": []} if kind == "code" else {}
            lines = text.strip().splitlines(keepends=True)
            cells.append({"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, "source": lines, **code})

    text, end = (DOCS / f"{page}.md").read_text(), 0
    for pattern, instead in OF_A_SITE:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    for block in BLOCK.finditer(text):
        add("markdown", text[end : block.start()])
        if block[1] == "python":
            add("code", block[2])
        end = block.end()
    add("markdown", text[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def path_of(page: str) -> Path:
    """Where the notebook of a page is."""
    return DOCS / f"examples/{page}.ipynb"


if __name__ == "__main__":
    for page in PAGES:
        path_of(page).write_text(json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n")
