"""Each promise names the test that keeps it; the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()


def test_the_test_that_keeps_a_promise_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        tree = ast.parse((ROOT / "tests/sweeps" / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_each_row_has_its_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "kept by" not in line]
    assert rows
    for row in rows:
        assert "::test_" in row or "not tested" in row, row
