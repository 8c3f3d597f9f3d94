"""The one error that a caller can mend, and the sentence that names the nearest valid word.

The tree: `ValueError` > `InputError` (a value that the caller gave) > `CorruptFile` (a file that
exists and cannot be read as what it claims to be) or `Diverged` (a run with a recipe that it
cannot stand).
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LISTABLE = 40  # more names than this are not printed; the nearest one is, however far


class InputError(ValueError):
    """A value the caller can mend. The command line prints it as one sentence and exits with 2.

    Its text is one line that can be printed, whatever the names of files in it hold.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class CorruptFile(InputError):
    """A file that exists and is not what its name claims: truncated, foreign or damaged."""


class Diverged(InputError):
    """A training run whose loss is no longer finite."""


def missing(what: str, package: str, extra: str) -> InputError:
    """Build the error for a package that only users of one extra install."""
    return InputError(
        f"{what} needs {package}, which is not installed: pip install 'convgate[{extra}]'"
    )


def printable(text: str) -> str:
    r"""Return a text with what moves, colours or hides written as an escape, as in "\x1b"."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_password(text: str) -> str:
    """Return a word of a command line without the password of an address in it."""
    text = re.sub(r"(\w+://[^:/@?\s]*:).*@", r"\1***@", text, flags=re.DOTALL)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", text)


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a near miss, else the choices if they are few."""
    known = sorted(choices)
    cutoff = 0.5 if len(known) <= LISTABLE else 0.0
    near = get_close_matches(name, known, n=1, cutoff=cutoff)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from {', '.join(known)}" if known else "; there is none"


def unknown(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """Build the error for a name that is not among ``choices``."""
    return InputError(f"unknown {kind} {name!r}{suggest(name, choices)}")
