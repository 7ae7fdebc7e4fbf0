"""Lines on a terminal: one at a time, whatever is in them, wherever they go.

Names in a store may be a stranger's. What a terminal would obey rather than show (escape codes, a line break, marks
that turn the direction of writing) is shown as Python writes it.
"""

from __future__ import annotations

import shlex
import sys

__all__ = ["OutputClosed", "say", "shell_word", "take_any_character", "visible"]


class OutputClosed(Exception):
    """Whoever read the output has gone, as ``head`` goes after its lines."""


def visible(text: object) -> str:
    r"""Write a text such that it is shown and not obeyed.

    Parameters
    ----------
    text : object
        What its ``str`` is.

    Returns
    -------
    str
        In one line.

    Examples
    --------
    >>> print(visible("width\x1b[2J\n"))
    width\x1b[2J\n
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in str(text)
    )


def shell_word(text: str) -> str:
    r"""Write a text as one word of a shell, which a terminal shows in one line too.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(shell_word("noise=0.5"), shell_word("a b; c"), shell_word("it's\n"))
    noise=0.5 'a b; c' $'it\'s\n'
    """
    if text.isprintable():
        return shlex.quote(text)
    special = {"\\": "\\\\", "'": "\\'", "\n": "\\n"}
    plain = (
        c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in c.encode(errors="surrogateescape")) for c in text
    )
    return f"$'{''.join(special.get(c, p) for c, p in zip(text, plain, strict=True))}'"


def say(text: object, *, error: bool = False) -> None:
    """Print one line.

    Parameters
    ----------
    text : object
    error : bool, optional
        Whether it goes to standard error.

    Raises
    ------
    OutputClosed
        If nobody reads any more.
    """
    try:
        print(visible(text), file=sys.stderr if error else sys.stdout, flush=True)
    except OSError:  # a pipe whose reader has gone, a terminal that was closed
        raise OutputClosed from None


def take_any_character() -> None:
    """Let a terminal that lacks a character show its code instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
