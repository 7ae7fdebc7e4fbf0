"""Types and defaults on the page of the API as the docstrings have them.

An extension of griffe, named in mkdocs.yml. Griffe reads sources: it does not see the section of parameters that
`sedyn.model.fields.documented` makes from the fields of a class. It gives all parameters of one entry, as in
``n, d : int``, the default of the first, and its type where the entry names none. And it takes the words of a type for
Python where they happen to be, so that ``array-like, shape (n,)`` becomes a difference and a call.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import griffe


class AsWritten(griffe.Extension):
    """Give every parameter its own default, and every entry the type that is written."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go through all that has a docstring."""
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            found = waiting.pop()
            waiting += [member for member in found.members.values() if not member.is_alias]  # type: ignore[misc]
            if isinstance(found, griffe.Function | griffe.Class) and found.docstring:
                _mend(found, found.docstring)


def _mend(found: griffe.Function | griffe.Class, docstring: griffe.Docstring) -> None:
    defaults = {parameter.name: parameter.default for parameter in found.parameters}
    if any(str(decorator.value) == "documented" for decorator in found.decorators):
        made = getattr(importlib.import_module(found.module.path), found.name)
        defaults = {field.name: repr(field.default) for field in dataclasses.fields(made)}
        docstring.value = inspect.getdoc(made) or ""
        docstring.__dict__["parsed"] = docstring.parse(warnings=False)  # of parameters that the source does not have
    written = _types(docstring.value)
    for section in docstring.parsed:
        for entry in section.value if isinstance(section.value, list) else ():
            if isinstance(entry, griffe.DocstringParameter) and entry.name in defaults:
                entry.value = defaults[entry.name]
                if any(entry.annotation is parameter.annotation for parameter in found.parameters):
                    entry.annotation = found.parameters[entry.name].annotation
            if isinstance(entry, griffe.DocstringElement):
                entry.annotation = written.get(_letters(entry.annotation), entry.annotation)


def _types(docstring: str) -> dict[str, str]:
    """Types of entries that are more than a name, by their letters."""
    texts = [line.split(" : ", 1)[-1].strip().removesuffix(", optional") for line in docstring.splitlines()]
    return {_letters(text): text for text in texts if not re.fullmatch(r"[\w.]*", text)}


def _letters(text: Any) -> str:
    return re.sub(r"[^\w'.]", "", str(text))
