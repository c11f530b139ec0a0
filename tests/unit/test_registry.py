"""Plugins are found from their source text, refused when they clash, and reported when they are broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.errors import UsageError

PLUGINS = Path(__file__).parent.parent / "end_to_end" / "plugins"
LEARNER = """
from bench.api import learner
@learner("{name}", guarantee="linear", paper="A paper, 2020", needs=("targets",), defaults={{"a": 2}}{more})
class Mine:
    '''First line
    goes on.

    Not this.
    '''
    def __init__(self, *, a: int = 1, b: float = 0.5) -> None: ...
"""


def plugin(tmp_path: Path, name: str = "mine", more: str = "") -> Path:
    path = tmp_path / f"{name.replace('-', '_')}.py"
    path.write_text(LEARNER.format(name=name, more=more))
    return path


def test_reads_metadata_without_importing(tmp_path: Path) -> None:
    path = plugin(tmp_path)
    path.write_text("raise SystemExit('imported')\n" + path.read_text())
    info = registry.discover([path]).learners["mine"]
    assert (info.guarantee, info.needs, info.summary) == ("linear", ("targets",), "First line goes on.")
    assert (info.origin, info.attribute) == (str(path), "Mine")


def test_parameters_are_the_constructors_with_the_variants_defaults(tmp_path: Path) -> None:
    info = registry.discover([plugin(tmp_path, "params")]).learners["params"]
    assert registry.parameters(info) == {"a": 2, "b": 0.5}


def test_a_taken_name_is_left_out_and_said(tmp_path: Path) -> None:
    path = plugin(tmp_path, "oracle")
    found = registry.discover([path])
    assert found.learners["oracle"].origin == registry.REFERENCES
    assert found.broken[str(path)].startswith("two plugins are called 'oracle': bench.run.references and ")


def test_nobody_but_the_harness_gets_the_truth(tmp_path: Path) -> None:
    path = plugin(tmp_path, "peeker")
    path.write_text(path.read_text().replace('("targets",)', '("truth",)'))
    found = registry.discover([path])
    assert "peeker" not in found.learners
    assert "asks for the true latents" in found.broken[str(path)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from bench.api import learner\n@learner(\nclass", "SyntaxError"),
        ("NAME = 'a'\n@learner(NAME, guarantee='none', paper='')\nclass A: ...", "must be literals"),
        ("@learner('a', paper='')\nclass A: ...", "guarantee"),
        (
            "@learner('a', guarantee='permutation', paper='')\nclass A: ...",
            "unknown guarantee 'permutation'; did you mean",
        ),
        ("@learner('a', guarantee='none', paper='', needs='aux')\nclass A: ...", "must be a list of words"),
        (
            "@learner('a', guarantee='none', paper='', needs=['aux|labls'])\nclass A: ...",
            "'labls'; did you mean labels",
        ),
        ("@learner('a', guarantee='none', paper='', accepts=['images'])\nclass A: ...", "did you mean image"),
        ("@learner('a', guarantee='none', paper='', version='1')\nclass A: ...", "must be a whole number"),
        ("@learner('a', guarantee='none', paper='', versions={'graph': '2'})\nclass A: ...", "whole numbers from 1"),
        ("@learner('a', guarantee='none', paper='', versions={'graphs': 2})\nclass A: ...", "did you mean graph"),
        ("@learner('<b>', guarantee='none', paper='')\nclass A: ...", "the name '<b>' is none"),
        ("@learner('a', guarantee='none', paper='', defaults={'x': 1e400})\nclass A: ...", "JSON has not"),
        ("@learner('a', guarantee='none', paper='', budgets={'small': {}})\nclass A: ...", "'small'"),
        ("@learner('a', guarantee='none', paper='', by_kind={'images': {}})\nclass A: ...", "did you mean image"),
        ("@dataset('a', paper='', kind='vectors')\ndef a(): ...", "unknown kind 'vectors'; did you mean vector"),
        ("@metric('a', tests='linear', range='', paper='', direction='up')\ndef a(): ...", "unknown direction 'up'"),
        ("@learner(" + "(" * 5000, "Error"),
    ],
)
def test_a_broken_plugin_file_is_left_out_and_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    found = registry.discover([path, plugin(tmp_path)])
    assert "mine" in found.learners
    assert words in found.broken[str(path)]
    assert "\n" not in found.broken[str(path)]


def test_a_file_without_a_plugin_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nothing.py"
    path.write_text("x = 1")
    with pytest.raises(UsageError, match="registers nothing"):
        registry.discover([path])


def test_a_module_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mean").mkdir()
    (tmp_path / "mean" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "mean" / "plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.source_of("mean.plugin") == tmp_path / "mean" / "plugin.py"
    assert registry.source_of("mean.other") is None
    info = registry.LearnerInfo("a", requires=("no_such.module", "numpy.no_such", "numpy.linalg"))
    assert registry.missing_requirements(info) == ["no_such.module", "numpy.no_such"]


def test_a_missing_plugin_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"'nowhere\.py' does not exist"):
        registry.discover(["nowhere.py"])


def test_missing_packages_are_named(tmp_path: Path) -> None:
    info = registry.discover([plugin(tmp_path, more=", requires=('numpy', 'no_such_package')")]).learners["mine"]
    assert registry.missing_requirements(info) == ["no_such_package"]


def test_built_in_plugins_are_whole() -> None:
    """Every file was readable, every class can be imported, and says of itself what its source says."""
    found = registry.discover()
    assert found.broken == {}
    assert {"mtlcm", "mtrn", "raw", "pca", "fastica", "untrained", "rrr", "rrr-ajd"} <= set(found.learners)
    assert {"linear-causal", "nonlinear-causal", "superconductivity", "qm9", "molecules"} <= set(found.datasets)
    for info in [*found.learners.values(), *found.datasets.values()]:
        marks = registry.load(info).__bench__
        assert info.name in [mark.name for mark in marks]
        assert info.summary
        assert set(getattr(info, "by_kind", {})) <= set(getattr(info, "accepts", ()))
        assert set(getattr(info, "versions", {})) <= set(getattr(info, "accepts", ()))
        assert all(number > info.version for number in getattr(info, "versions", {}).values())
        assert set(info.budgets) <= {"smoke", "standard", "paper"}
        known = registry.parameters(info)
        further = [*info.budgets.values(), *getattr(info, "by_kind", {}).values()]
        assert {key for values in further for key in values} <= set(known)


def test_our_datasets_package_wins_over_the_popular_one(tmp_path: Path) -> None:
    """With somebody else's package of that name first on the path, the error says what happened and how to mend it."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    root = Path(registry.__file__).parent.parent
    code = (
        "import sys; from bench import registry, errors\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "found = registry.discover()\n"
        "try: registry.load(found.datasets['linear-causal'])\n"
        "except errors.UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert f"finds {tmp_path}/datasets instead of the benchmark's own" in done.stdout
    assert "pip install -e" in done.stdout
    import datasets

    assert Path(str(datasets.__file__)).parent == root / "datasets"


def test_an_entry_point_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module inside a package; one where nothing is registered; one that is not there."""
    package = tmp_path / "mine_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .impl import Mine as Public\n")
    (package / "impl.py").write_text(LEARNER.format(name="re-exported", more=""))
    (tmp_path / "nothing_here.py").write_text("class Empty: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {("mine_package.impl", "Mine"), ("nothing_here", "Empty"), ("not_installed_at_all", "X")}
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    found = registry.discover()
    assert found.learners["re-exported"].origin == "mine_package.impl"
    assert "nothing is decorated with @learner" in found.broken["nothing_here:Empty"]
    assert found.broken["not_installed_at_all"] == "entry point names a module that is not installed"


def test_a_re_export_of_a_package_leads_to_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other_package"
    package.mkdir()
    (package / "__init__.py").write_text("from other_package.impl import Mine as Public\n")
    (package / "impl.py").write_text(LEARNER.format(name="from-afar", more=""))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_entry_points", lambda: {("other_package", "Public")})
    info = registry.discover().learners["from-afar"]
    assert (info.origin, info.attribute) == ("other_package.impl", "Mine")
    assert registry.load(info)().__class__.__name__ == "Mine"
