"""The house: imports flow down, in no circle; the harness knows no learner; only toolkit and learners load torch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bench", "baselines", "mtlcm", "datasets")
CONTRACTS = {"bench", "bench.api", "bench.errors", "bench.assumptions"}
LAYERS = ["toolkit", "metrics", "statistics", "run", "report", "commands"]
"""From the bottom up; a layer imports those below it and itself. Beside them: contracts, registry, command line."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str, *, at_top: bool) -> Iterator[str]:
    """Modules that a module imports, at its top (outside functions and type checking) or anywhere."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    nodes: list[ast.AST] = list(tree.body) if at_top else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


SIMULATIONS = {"bench.statistics.coverage", "bench.statistics.boards"}
"""Commands that simulate whole boards, though they stand beside the intervals they are about."""


def layer(name: str) -> int | None:
    if name in SIMULATIONS:
        return LAYERS.index("commands")
    parts = name.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "bench" and len(parts) > 1 and parts[1] in LAYERS else None


def test_there_is_no_circle() -> None:
    graph = {name: {i for i in imports(name, at_top=True) if i in MODULES and i != name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("bench")])
def test_the_harness_imports_no_learner_and_no_dataset(name: str) -> None:
    roots = {i.split(".")[0] for i in imports(name, at_top=False)}
    assert not roots & {"baselines", "mtlcm", "datasets"}


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) is not None])
def test_imports_flow_down(name: str) -> None:
    mine = layer(name)
    assert mine is not None
    for imported in imports(name, at_top=False):
        theirs = layer(imported)
        assert theirs is None or theirs <= mine, f"{name} imports {imported}, which stands above it"
        if mine == 0 and imported.startswith("bench") and theirs is None:
            assert imported in CONTRACTS, f"the toolkit stands on the contracts alone, not on {imported}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "mtlcm"])
def test_the_method_does_not_need_the_baselines(name: str) -> None:
    assert not [i for i in imports(name, at_top=False) if i.split(".")[0] in ("baselines", "datasets")]


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] in ("bench", "datasets")])
def test_nothing_but_toolkit_and_learners_loads_torch(name: str) -> None:
    if not name.startswith("bench.toolkit"):
        assert not [i for i in imports(name, at_top=True) if i.split(".")[0] == "torch"]


def test_families_hold_learners_and_bases_alone() -> None:
    """A file in a family registers a learner, or is the base that several files there share."""
    for path in (ROOT / "baselines").glob("*/*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "__init__.py" and "@learner(" not in text:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            users = [name for name in MODULES if module in imports(name, at_top=False)]
            assert users, f"{module} registers nothing and nobody uses it"
