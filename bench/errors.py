"""Errors a user can mend: one line each, printed without a traceback; exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


class UsageError(Exception):
    """The command line, a parameter or a file is wrong; the message says what, where and what to do."""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name nobody knows, with the nearest names that exist."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {what} '{name}'; {hint}")
