"""What plugins import, read from their source: imported once for all cells, without the plugins."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from bench.registry import BUILTIN_PACKAGES

ROOT = Path(__file__).resolve().parents[3]
OURS = (*BUILTIN_PACKAGES, "bench")
# imported by a package when it is first used: half a CPU second that would count as the fit's
LATE = {"torch": ("torch._dynamo",)}


def foreign_imports(modules: Iterable[str]) -> list[str]:
    """Modules of installed packages that our modules import, and that others of ours import at their top for them.

    modules   dotted names; only ours are read
    """
    asked = {*modules}
    seen: set[str] = set()
    foreign: set[str] = set()
    waiting = [name for name in asked if _is_ours(name)]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for imported in _imports(name, everywhere=name in asked):
            if _is_ours(imported):
                waiting.append(imported)
            else:
                foreign.add(imported)
    late = {module for name in foreign for module in LATE.get(name.split(".")[0], ())}
    return sorted(name for name in foreign | late if importlib.util.find_spec(name.split(".")[0]) is not None)


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in OURS


def _imports(name: str, *, everywhere: bool) -> list[str]:
    path = ROOT.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    found: list[str] = []
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
            if _is_ours(node.module):  # `from mtlcm import network` names a module too
                found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name != "__future__"]
