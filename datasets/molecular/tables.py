"""Numbers out of a published table, with an error that names file, row and column for whatever is not one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import BadData
from datasets.sources import open_member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_table(
    path: Path, member: str, numbers: Sequence[str], text: Sequence[str] = (), label: str = ""
) -> tuple[NDArray[np.float64], dict[str, list[str]]]:
    """Columns of a comma-separated table with a header line, inside an archive or a file of its own.

    Returns the finite numbers (rows, len(numbers)) float64 and the text columns by name. Raises BadData: damaged
    archive, missing column, a cell that is not a finite number or is empty, a row with too many fields, no rows.
    Rows are counted from 1 below the header.
    """
    import numpy as np
    import pandas as pd

    where = f"{label or path.name}" + ("" if (label or path.name).endswith(member) else f": {member}")
    with open_member(path, member, label) as stream:
        content: bytes = stream.read()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        raise BadData(f"{where}: line {line + 1} is not UTF-8 text: another encoding, or damaged") from None
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in content:
        raise BadData(f"{where}: line {content.count(bytes([10]), 0, content.find(0)) + 1} holds a zero byte: no text")
    first_line = content[: content.find(b"\n")] if b"\n" in content else content
    header = first_line.decode("utf-8", "replace").strip().split(",")
    header = [name.strip().strip('"') for name in header]
    wanted = [*text, *numbers]
    if missing := [name for name in wanted if name not in header]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadData(f"{where}: no column '{missing[0]}'{more}; its header begins with {','.join(header[:4])}"[:300])
    if b'"' not in content:  # pandas drops what is beyond the header's columns without a word
        for row, text_line in enumerate(content.split(b"\n")):
            if (fields := text_line.count(b",") + 1) > len(header):
                raise BadData(f"{where}: row {row}: {fields} fields, but the header has {len(header)}")
    kinds: dict[str, Any] = {**dict.fromkeys(numbers, "float64"), **dict.fromkeys(text, "str")}
    try:
        frame = pd.read_csv(
            io.BytesIO(content), usecols=wanted, dtype=kinds, index_col=False, skipinitialspace=True, engine="c"
        )
    except pd.errors.ParserError as error:
        detail = " ".join(str(error).replace("Error tokenizing data. C error:", "").split())
        raise BadData(f"{where}: not a table: {detail}") from error
    except (ValueError, OverflowError):
        raise _bad_cell(content, numbers, where) from None
    if frame.empty:
        raise BadData(f"{where}: a header but no rows")
    values = frame[list(numbers)].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise _bad_cell(content, numbers, where)
    strings: dict[str, list[str]] = {}
    for name in text:
        column = frame[name]
        if column.isna().any():
            raise BadData(f"{where}: row {int(column.isna().to_numpy().argmax()) + 1}, column '{name}': empty")
        strings[name] = [str(value) for value in column]
    return values, strings


def _bad_cell(content: bytes, numbers: Sequence[str], where: str) -> BadData:
    """The first offending cell, found the slow way."""
    import numpy as np
    import pandas as pd

    try:
        frame = pd.read_csv(
            io.BytesIO(content), usecols=list(numbers), dtype="str", index_col=False, keep_default_na=False
        )
    except (ValueError, OverflowError) as error:
        return BadData(f"{where}: not a table: {' '.join(str(error).split())[:120]}")
    values = np.column_stack([pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64) for name in numbers])
    bad = np.argwhere(~np.isfinite(values))
    if not len(bad):
        return BadData(f"{where}: cannot be read as numbers")
    row, column = (int(i) for i in bad[0])
    cell = frame[numbers[column]].iloc[row]
    said = "empty" if not isinstance(cell, str) or not cell.strip() else f"'{cell[:40]}' is not a finite number"
    return BadData(f"{where}: row {row + 1}, column '{numbers[column]}': {said}")
