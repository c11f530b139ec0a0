"""``python -m bench export``."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from bench.errors import EXIT_OK, UsageError


def main(options: argparse.Namespace) -> int:
    """Write the records as a table for other programs: one row a cell."""
    from bench.run.files import write_aside
    from bench.run.frames import flat_frame
    from bench.run.store import read_records

    to = Path(options.to)
    if to.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--to '{to}': name a .csv or a .parquet file")
    if to.suffix == ".parquet" and not importlib.util.find_spec("pyarrow"):
        raise UsageError("a parquet file needs the package pyarrow: pip install pyarrow, or name a .csv file")
    frame = flat_frame(read_records(options.out))
    if to.suffix == ".csv":
        write_aside(to, lambda file: frame.to_csv(file, index=False))
    else:
        write_aside(to, lambda file: frame.to_parquet(file, index=False))
    print(f"{len(frame)} records, {len(frame.columns)} columns in {to}")
    return EXIT_OK
