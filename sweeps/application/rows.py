"""What varies together, in the ways in which it can be said: each is a list of rows, of a value for each field."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sedyn.checks import one_of, path, whole
from sedyn.errors import LARGEST, InvalidInput
from sedyn.model.problem import Problem
from sweeps.plan import MOST_CELLS, PROBLEM_FIELDS, plain, require_few_cells, require_fields

__all__ = ["design", "product_of", "table", "union", "value_of", "zipped"]

Row = dict[str, Any]
METHODS = ("sobol", "latin_hypercube")
LOG = "log"
_NUMBERS = {field.name: field.type.partition(" ")[0] for field in fields(Problem) if isinstance(field.type, str)}


def zipped(given: Mapping[str, Any]) -> list[Row]:
    """Pair the first values of all fields, the second, and so on.

    Parameters
    ----------
    given : mapping of str to list
        ``zip.FIELD=[VALUE,VALUE]``, as many of each.

    Raises
    ------
    InvalidInput
        If a field is unknown, or one has more values than another.
    """
    require_fields("zip", given)
    for name, values in given.items():
        if not isinstance(values, list) or not values:
            raise InvalidInput(f"zip.{name}", values, f"a list of values, as in zip.{name}=[VALUE,VALUE]")
    counts = {name: len(values) for name, values in given.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InvalidInput("zip", said, "fields that vary together have the same number of values")
    return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]


def union(given: Any, problem: Mapping[str, Any]) -> list[Row]:
    """List the cells of several grids.

    Parameters
    ----------
    given : list of mapping
        ``grids=[{FIELD:[VALUE,VALUE]},{FIELD:[VALUE]}]``, each a grid.
    problem : mapping
        The value of a field in a grid that does not name it, where others do.

    Raises
    ------
    InvalidInput
        If it is no such list, or d is in some of them only.
    """
    remedy = "a list of grids, as in grids=[{n:[100,200],noise:[0.1]},{n:[400],width:[2,3]}]"
    if not isinstance(given, list) or not given or not all(isinstance(grid, dict) and grid for grid in given):
        raise InvalidInput("grids", given, remedy)
    for grid in given:
        require_fields("grids", grid)
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise InvalidInput(f"grids: {name}", values, remedy)
    names = [name for name in PROBLEM_FIELDS if any(name in grid for grid in given)]
    if "d" in names and not all("d" in grid for grid in given):
        raise InvalidInput("grids", given, "d is in some of the grids; name it in each, or in none and it follows n")
    others = {name: [problem[name]] for name in names if name in problem}
    return list(itertools.chain.from_iterable(product_of({**others, **grid}) for grid in given))


def product_of(axes: Mapping[str, Sequence[Any]]) -> list[Row]:
    """List every combination, the last axis fastest.

    Raises
    ------
    InvalidInput
        If these are more than a sweep may have.
    """
    require_few_cells({axis: len(values) for axis, values in axes.items()})
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def table(name: Any) -> list[Row]:
    """Read a list of cells, a line each, under the names of their fields.

    Parameters
    ----------
    name : path
        Of a file ``.csv``, or ``.parquet`` where pyarrow is installed.

    Raises
    ------
    InvalidInput
        If it is not there, is no table, or has a column that is no field of a problem.
    """
    file = Path(path("cells", name))
    if file.suffix not in (".csv", ".parquet"):
        raise InvalidInput("cells", name, "a table, FILE.csv or FILE.parquet, with a column for each field that varies")
    try:
        rows = _read_csv(file) if file.suffix == ".csv" else _read_parquet(file)
    except ImportError:
        raise InvalidInput(
            "cells", name, "to read it takes `pip install pyarrow`; or write the table as .csv"
        ) from None
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidInput(
            "cells", name, f"cannot be read ({reason}); name a table with a line for each cell"
        ) from None
    if not rows or not rows[0]:
        raise InvalidInput("cells", name, "has no line below its names of columns; write one for each cell")
    require_fields(f"cells={name}: column", rows[0])
    for number, row in enumerate(rows, 1):
        if lacking := [column for column, value in row.items() if value is None or value == ""]:
            raise InvalidInput(
                "cells", name, f"line {number} has no {lacking[0]}; every cell has a value in each column"
            )
    return rows


def _read_csv(file: Path) -> list[Row]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, restkey="", skipinitialspace=True)
        rows = [{(name or "").strip(): value_of(text) for name, text in line.items()} for line in reader]
    if any("" in row for row in rows):
        raise ValueError("a line has more entries than there are columns")
    return rows


def _read_parquet(file: Path) -> list[Row]:
    from pyarrow import parquet

    return parquet.read_table(file).to_pylist()


def value_of(text: Any) -> Any:
    """Read a value: a number or one of true and false where it is written as one, else a text."""
    if not isinstance(text, str):
        return text
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)


def design(ranges: Mapping[str, Any], points: Any, method: Any, seed: int) -> list[Row]:
    """Fill a box evenly.

    Parameters
    ----------
    ranges : mapping of str to list
        ``ranges.FIELD=[LOW,HIGH]``, or ``[LOW,HIGH,log]`` for even steps of the logarithm.
    points : int
        How many. The first points of a Sobol sequence are those of a longer one.
    method : {'sobol', 'latin_hypercube'}
    seed : int
        Of their scrambling.

    Raises
    ------
    InvalidInput
        If a range is none, or of a field that is no number.
    """
    require_fields("ranges", ranges)
    ends = {name: _range_of(name, given) for name, given in ranges.items()}
    if points is None:
        raise InvalidInput("design.points", points, "how many cells fill the ranges, as in design.points=64")
    count = whole(1, MOST_CELLS)("design.points", points)
    one_of(*METHODS)("design.method", method)
    from scipy.stats import qmc

    if method == "sobol":
        unit = qmc.Sobol(len(ends), rng=seed).random_base2(math.ceil(math.log2(count)))[:count]
    else:
        unit = qmc.LatinHypercube(len(ends), rng=seed).random(count)
    return [
        {name: _at(share, *ends[name], whole=_NUMBERS[name] == "int") for name, share in zip(ends, shares, strict=True)}
        for shares in unit.tolist()
    ]


def _range_of(name: str, given: Any) -> tuple[float, float, bool]:
    words = f"a range, as in ranges.{name}=[LOW,HIGH], or [LOW,HIGH,{LOG}] with LOW > 0"
    if _NUMBERS[name] not in ("int", "float"):
        raise InvalidInput(
            f"ranges.{name}", given, f"{name} is no number; sweep over it with grid.{name}=[VALUE,VALUE]"
        )
    if not isinstance(given, list) or len(given) not in (2, 3) or given[2:] not in ([], [LOG]):
        raise InvalidInput(f"ranges.{name}", given, words)
    numbers = [end for end in given[:2] if isinstance(end, int | float) and not isinstance(end, bool)]
    logarithmic = len(given) == 3
    if len(numbers) < 2 or not -LARGEST <= numbers[0] < numbers[1] <= LARGEST or (logarithmic and numbers[0] <= 0):
        raise InvalidInput(f"ranges.{name}", given, words)
    return float(numbers[0]), float(numbers[1]), logarithmic


def _at(share: float, low: float, high: float, logarithmic: bool, *, whole: bool) -> float:
    """Find the number at a share of a range; of whole numbers both ends are as likely as the others."""
    if whole:
        low, high = low - 0.5, high + 0.5 - 1e-9
    value = low * (high / low) ** share if logarithmic else low + share * (high - low)
    return round(value) if whole else plain(value)
