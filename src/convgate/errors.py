"""The one error that a caller can mend, and the sentence that names the nearest valid word.

The tree: `ValueError` > `InputError` (a value that the caller gave) > `CorruptFile` (a file that
exists and cannot be read as what it claims to be).
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A value the caller can mend. The command line prints it as one sentence and exits with 2."""


class CorruptFile(InputError):
    """A file that exists and is not what its name claims: truncated, foreign or damaged."""


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a near miss, else the choices themselves."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from {', '.join(known)}" if known else "; there is none"


def unknown(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """Build the error for a name that is not among ``choices``."""
    return InputError(f"unknown {kind} {name!r}{suggest(name, choices)}")
