"""What became of a cell, in words and in JSON's own types: codes checked, values cleaned, errors told apart."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.api import Diverged, MissingData, NotApplicable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.floating[Any]]

MAX_REASON, MAX_TRACE = 2000, 2**16


class BadCodes(Exception):
    """A learner's codes, or what it says of itself, break the contract; the message says how."""


def checked_codes(codes: Any, n_samples: int, learner: str) -> Codes:
    """The codes as a finite (n_samples, d) array; raises BadCodes or Diverged with what is wrong."""
    import numpy as np

    if not isinstance(codes, np.ndarray) or isinstance(codes, np.ma.MaskedArray):
        raise BadCodes(f"{learner}.encode returned a {type(codes).__name__}, not a numpy array (n, d)")
    if codes.ndim != 2 or codes.shape[0] != n_samples or codes.shape[1] == 0:
        raise BadCodes(f"{learner}.encode returned shape {codes.shape} for {n_samples} samples, not ({n_samples}, d)")
    if not np.issubdtype(codes.dtype, np.floating):
        raise BadCodes(f"{learner}.encode returned {codes.dtype}, not floats")
    bad = int(codes.size - np.isfinite(codes).sum())
    if bad:
        raise Diverged(f"{bad} of {codes.size} codes are NaN or infinite")
    return codes.astype(np.float64) if codes.dtype.itemsize > 8 else codes


def json_values(value: Any, where: str) -> Any:
    """The value in JSON's own types; numbers that are not finite, which JSON has not, become None.

    Subclasses of strings and numbers become plain ones. Raises BadCodes for anything else, naming ``where``, and for
    values nested without end.
    """
    try:
        return _json_values(value, where)
    except RecursionError:
        raise BadCodes(f"{where} is nested too deep for JSON") from None


def _json_values(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {_text(str(key)): _json_values(item, where) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _json_values(value.tolist(), where)
    if isinstance(value, list | tuple):
        return [_json_values(item, where) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    raise BadCodes(f"{where} holds a {type(value).__name__}, which JSON cannot; give numbers, strings, lists and dicts")


def count_of(value: Any, where: str) -> int | None:
    """A number of something as a plain int; None for None. Raises BadCodes for anything else."""
    found = json_values(value, where)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if found is None and value is None:
        return None
    if type(found) is not int or not 0 <= found < 2**63:
        raise BadCodes(f"{where} is {str(value)[:40]!r}, not a whole number")
    return found


def failure(error: BaseException) -> dict[str, Any]:
    """Status, reason and traceback of what a learner or dataset raised."""
    if isinstance(error, NotApplicable):
        return {"status": "skipped", "reason": _told(error), "missing_data": isinstance(error, MissingData)}
    trace = _text("".join(traceback.format_exception(error))[-MAX_TRACE:])
    if isinstance(error, Diverged):
        return {"status": "diverged", "reason": _told(error) or "training diverged", "traceback": trace}
    if _out_of_memory(error):
        return {"status": "oom", "reason": f"out of memory: {one_line(error)}", "traceback": trace}
    return {"status": "failed", "reason": one_line(error), "traceback": trace}


def one_line(error: BaseException) -> str:
    """The error's name and message in one line; the message alone where it says everything."""
    text, name = " ".join(_told(error).split()), type(error).__name__
    if isinstance(error, BadCodes) or name == "BadData":
        return text
    return f"{name}: {text}" if text else name


def _told(error: BaseException) -> str:
    try:
        return _text(str(error))[:MAX_REASON]
    except Exception:  # noqa: BLE001 -- a plugin's exception may have a __str__ that fails
        return "(its message cannot be read)"


def _text(text: str) -> str:
    """The text without halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _out_of_memory(error: BaseException) -> bool:
    # torch tells it in words where the CPU's memory is gone
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "not enough memory" in _told(error))
    )
