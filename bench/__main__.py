"""``python -m bench``."""

import sys


def _standard_library_first() -> None:
    """Put the working folder and the checkout behind the standard library, and before installed packages.

    ``-m`` puts the working folder first: a ``random.py`` that lies there would be imported instead of Python's.
    """
    library = sys.modules["encodings"].__path__[0].rpartition("encodings")[0].rstrip("/\\")
    at = next((i for i, path in enumerate(sys.path) if path.rstrip("/\\") == library), None)
    if at is None:
        return
    behind = next((i for i in range(len(sys.path)) if "-packages" in sys.path[i]), len(sys.path))
    first, rest = sys.path[:at], sys.path[behind:]
    zipped = [path for path in first if path.endswith(".zip")]
    sys.path[:] = [*zipped, *sys.path[at:behind], *(path for path in first if path not in zipped), *rest]


if __name__ == "__main__":
    _standard_library_first()
    from bench.cli import main

    sys.exit(main())
