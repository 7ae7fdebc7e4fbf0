"""Types and defaults of parameters on the page of the API.

An extension of griffe, named in mkdocs.yml. A docstring may describe several parameters in one entry, as in
``n, d : int``; griffe then gives all of them the default of the first, and its type where the entry names none.
"""

from __future__ import annotations

from typing import Any

import griffe


class OwnDefaults(griffe.Extension):
    """Give every parameter its own type and default."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go through all that has parameters."""
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            found = waiting.pop()
            waiting += [member for member in found.members.values() if not member.is_alias]  # type: ignore[misc]
            if isinstance(found, griffe.Function | griffe.Class) and found.docstring:
                for section in found.docstring.parsed:
                    if isinstance(section, griffe.DocstringSectionParameters):
                        for described in section.value:
                            _mend(found, described)


def _mend(found: griffe.Function | griffe.Class, described: griffe.DocstringParameter) -> None:
    if described.name in found.parameters:
        own = found.parameters[described.name]
        described.value = own.default
        if any(described.annotation is parameter.annotation for parameter in found.parameters):
            described.annotation = own.annotation
