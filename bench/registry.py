"""Finds plugins without importing them.

A plugin's metadata is the literal arguments of its decorator, read from the source text. Listing therefore imports
no plugin and no torch, and a file that cannot even be imported here is still listed, with what it lacks.
Plugins come from the packages beside this one, from installed distributions (entry points ``bench.learners``,
``bench.datasets`` and ``bench.metrics``, value ``module:attribute``) and from files named with ``--plugin``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import api
from bench.api import DatasetInfo, Info, LearnerInfo
from bench.errors import UsageError, unknown
from bench.metrics.base import MetricInfo, metric
from bench.validation import check_metadata

BUILTIN_PACKAGES = ("baselines", "mtlcm", "datasets")
REFERENCES = "bench.run.references"
METRICS = "bench.metrics"
DECORATORS: dict[str, Callable[..., Any]] = {"learner": api.learner, "dataset": api.dataset, "metric": metric}
ENTRY_POINT_GROUPS = ("bench.learners", "bench.datasets", "bench.metrics")


class BrokenPlugin(UsageError):
    """A plugin that cannot be used, by no fault of who runs the benchmark: it is left out, and the others go on."""


@dataclass
class Registry:
    """All plugins found; ``broken`` names the files that could not be read, with the reason."""

    learners: dict[str, LearnerInfo] = field(default_factory=dict)
    datasets: dict[str, DatasetInfo] = field(default_factory=dict)
    metrics: dict[str, MetricInfo] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def learner(self, name: str) -> LearnerInfo:
        if name not in self.learners:
            raise unknown("learner", name, self.learners)
        return self.learners[name]

    def dataset(self, name: str) -> DatasetInfo:
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets)
        return self.datasets[name]

    def __len__(self) -> int:
        return len(self.learners) + len(self.datasets) + len(self.metrics)

    def foreign_metrics(self) -> list[MetricInfo]:
        """Metrics that plugins add to the built-in ones."""
        return [info for info in self.metrics.values() if not info.origin.startswith(f"{METRICS}.")]

    def add(self, info: Info) -> None:
        """Add one plugin; a name that is taken is refused, because a silent override would falsify a board."""
        table: dict[str, Any] = self.datasets
        if isinstance(info, LearnerInfo):
            table = self.learners
        elif isinstance(info, MetricInfo):
            table = self.metrics
        if info.name in table:
            raise BrokenPlugin(
                f"two plugins are called '{info.name}': {table[info.name].origin} and {info.origin}; rename one of them"
            )
        if isinstance(info, LearnerInfo) and "truth" in info.needs and info.origin != REFERENCES:
            raise BrokenPlugin(
                f"learner '{info.name}' in {info.origin} asks for the true latents; no learner gets them"
            )
        table[info.name] = info


def discover(plugin_files: Iterable[str | Path] = ()) -> Registry:
    """Every plugin that can be found; nothing is imported.

    What is wrong with a plugin leaves that plugin out and stands in ``broken``. Raises UsageError for a plugin file
    that is not there or registers nothing.
    """
    registry = Registry()
    root = Path(__file__).resolve().parent
    _read_into(registry, root / "run" / "references.py", REFERENCES)
    for path in sorted((root / "metrics").glob("*.py")):
        _read_into(registry, path, f"{METRICS}.{path.stem}")
    for package in BUILTIN_PACKAGES:
        for path in sorted((root.parent / package).rglob("*.py")):
            module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
            _read_into(registry, path, module)
    _read_entry_points(registry)
    for file in plugin_files:
        path = Path(file)
        if not path.is_file():
            raise UsageError(f"plugin file '{file}' does not exist; give the path of a Python file")
        before = len(registry)
        _read_into(registry, path, str(path.resolve()))
        if len(registry) == before and str(path) not in registry.broken:
            raise UsageError(
                f"plugin file '{file}' registers nothing; decorate a class with @learner, a function with @dataset"
                " or a function with @metric"
            )
    return registry


def load(info: Info) -> Any:
    """Import the plugin's code and return its class or function; raises whatever its import raises."""
    module = _import_file(Path(info.origin)) if info.origin.endswith(".py") else _import_module(info.origin)
    return getattr(module, info.attribute)


def source_of(module: str) -> Path | None:
    """The source file of an installed module; imports none of its packages."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *below)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


Describer = Callable[[Info], Mapping[str, Any]]
_describer: ContextVar[Describer | None] = ContextVar("describer", default=None)


@contextmanager
def described_by(describer: Describer) -> Iterator[None]:
    """Within the block plugins are not imported here to learn their parameters: the describer is asked.

    It returns {"parameters": …, "fit_many": …}, see ``bench.run.executors.describe``.
    """
    known: dict[tuple[str, str, str], Mapping[str, Any]] = {}

    def ask(info: Info) -> Mapping[str, Any]:
        key = (info.name, info.origin, info.attribute)
        if key not in known:
            known[key] = describer(info)
        return known[key]

    token = _describer.set(ask)
    try:
        yield
    finally:
        _describer.reset(token)


def parameters(info: Info) -> dict[str, Any]:
    """Names and defaults of the parameters a user may set; the variant's own defaults applied."""
    ask = _describer.get()
    return dict(ask(info)["parameters"]) if ask else _parameters(info)


def fits_many(info: Info) -> bool:
    """Has the learner a ``fit_many``?"""
    ask = _describer.get()
    return bool(ask(info)["fit_many"]) if ask else hasattr(load(info), "fit_many")


def _parameters(info: Info) -> dict[str, Any]:
    try:
        plugin = load(info)
    except UsageError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise BrokenPlugin(f"{info.origin} cannot be imported: {type(error).__name__}: {said}") from error
    reserved = {"self", "seed"}
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(plugin).parameters.items()
        if name not in reserved and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    missing = [name for name, default in found.items() if default is inspect.Parameter.empty]
    if missing:
        raise BrokenPlugin(f"{info.origin}: parameter '{missing[0]}' of '{info.name}' has no default; give it one")
    return found | dict(info.defaults)


def missing_requirements(info: Info) -> list[str]:
    """The packages, or modules of packages, the plugin requires and this environment lacks."""

    def lacks(module: str) -> bool:
        try:
            return importlib.util.find_spec(module.split(".")[0]) is None or (
                "." in module and importlib.util.find_spec(module) is None
            )
        except Exception:  # noqa: BLE001 -- looking for a module imports the packages around it, which may raise anything
            return True

    return [module for module in info.requires if lacks(module)]


def _is_builtin(module: str) -> bool:
    return module.split(".")[0] in BUILTIN_PACKAGES


def _entry_points() -> set[tuple[str, str]]:
    """(module, attribute) of every entry point in our groups."""
    # importlib.metadata is slow to import; without an installed distribution that declares the groups it finds nothing
    from importlib.metadata import entry_points

    return {(point.module, point.attr) for group in ENTRY_POINT_GROUPS for point in entry_points(group=group)}


def _read_entry_points(registry: Registry) -> None:
    """Plugins of installed distributions; an entry point that leads to none is named in ``broken``."""
    read: dict[str, set[str]] = {}
    for module, attribute in sorted(_entry_points()):
        if _is_builtin(module):
            continue
        try:
            home = _home(module, attribute)
        except (ImportError, OSError, SyntaxError, ValueError) as error:
            registry.broken[module] = f"entry point cannot be resolved: {error}"
            continue
        if home is None:
            registry.broken[module] = "entry point names a module that is not installed"
            continue
        name, path = home
        if name not in read:
            before = _attributes(registry)
            _read_into(registry, path, name)
            read[name] = _attributes(registry) - before
        # the module's own name may differ from the entry point's ("import … as"): something must be registered there
        if not read[name] and str(path) not in registry.broken:
            registry.broken[f"{module}:{attribute}"] = (
                f"entry point leads to {path}, where nothing is decorated with @learner, @dataset or @metric"
            )


def _attributes(registry: Registry) -> set[str]:
    return {f"{info.origin}:{info.attribute}" for table in _tables(registry) for info in table.values()}


def _tables(registry: Registry) -> tuple[Mapping[str, Info], ...]:
    return registry.learners, registry.datasets, registry.metrics


def _home(module: str, attribute: str, depth: int = 8) -> tuple[str, Path] | None:
    """Where an attribute is defined, (module, file): re-exports ("from .x import Thing") are followed, unimported."""
    path = source_of(module)
    if path is None:
        return None
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        if not isinstance(node, ast.ImportFrom) or depth == 0:
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == attribute:
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                return _home(source, alias.name, depth - 1) or (module, path)
    return module, path


def _read_into(registry: Registry, path: Path, origin: str) -> None:
    try:
        infos = list(read_source(path, origin))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OSError) as error:
        registry.broken[str(path)] = " ".join(f"{type(error).__name__}: {error}".split())
        return
    for info in infos:
        try:
            registry.add(info)
        except BrokenPlugin as error:
            registry.broken[str(path)] = str(error)


def read_source(path: Path, origin: str) -> Iterator[Info]:
    """The plugins a source file registers, read from the literals of its decorators.

    Raises SyntaxError for a broken file, ValueError for a decorator argument that is no literal.
    """
    text = path.read_text(encoding="utf-8")
    if not any(f"@{name}(" in text for name in DECORATORS):
        return
    for node in ast.parse(text, filename=str(path)).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        docstring = ast.get_docstring(node) or ""
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in DECORATORS:
                yield _info_of(call, path, docstring, origin, node.name)


def _info_of(call: ast.Call, path: Path, docstring: str, origin: str, attribute: str) -> Info:
    assert isinstance(call.func, ast.Name)
    try:
        positional = [ast.literal_eval(argument) for argument in call.args]
        named: Mapping[str, Any] = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    except ValueError:
        raise ValueError(
            f"line {call.lineno}: the arguments of @{call.func.id} must be literals (bench list reads them unimported)"
        ) from None

    try:
        check_metadata(call.func.id, positional, named)
    except ValueError as error:
        raise ValueError(f"line {call.lineno}, @{call.func.id}: {error}") from None

    def carrier() -> None: ...

    info: Info = DECORATORS[call.func.id](*positional, **named)(carrier).__bench__[0]
    summary = info.summary or docstring.strip().split("\n\n")[0].replace("\n", " ").strip()
    return replace(info, summary=summary, origin=origin, attribute=attribute)


def _import_file(path: Path) -> ModuleType:
    name = f"bench_plugin_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin file '{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> ModuleType:
    if _is_builtin(name):
        guard_package(name.split(".")[0])
    return importlib.import_module(name)


def guard_package(package: str) -> None:
    """``datasets`` is also the name of a popular package: refuse to run with somebody else's."""
    ours = Path(__file__).resolve().parent.parent / package
    spec = importlib.util.find_spec(package)
    found = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if found != ours:
        raise UsageError(
            f"'import {package}' finds {found or 'nothing'} instead of the benchmark's own {ours}; "
            f"run from the checkout's root, or install it with: pip install -e {ours.parent}"
        )
