"""The small things a new user stumbles over, each through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import new

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "end_to_end" / "plugins" / "toy.py"
Run = Callable[..., subprocess.CompletedProcess[str]]
METRIC = """
from bench.metrics.base import metric

@metric("first-z", tests="none", range="(-inf, inf)", paper="none")
def first_z(z_train, codes_train, z_test, codes_test) -> float:
    '''The mean of the first factor.'''
    return float(z_test[:, 0].mean())
"""


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """What a command prints on both streams, run in this process."""
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--all", "--timeout", "-1"), "argument --timeout: '-1' is not a number of seconds above 0"),
        (("run", "--all", "--timeout", "nan"), "argument --timeout: 'nan' is not a number of seconds above 0"),
        (("run", "--all", "--memory-limit", "0"), "argument --memory-limit: '0' is not a number of MiB above 0"),
        (("run", "--all", "--jobs", "x"), "argument --jobs: 'x' is not a whole number above 0"),
    ],
)
def test_limits_are_numbers_above_zero(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "--out", ROOT / "README.md"), "README.md' holds no record: it is a results folder"),
        (("report", "--out", "r", "--to", ROOT / "README.md"), "README.md' is a file; name a folder"),
        (("score", ROOT / "README.md"), "is no npz file of plain arrays"),
        (("list", "mtlmc"), "unknown learner, dataset or metric 'mtlmc'; did you mean mtlcm"),
        (("check", "mcc"), "'mcc' is a built-in metric: `python -m bench metrics`"),
        (("check", "nobody"), "unknown plugin 'nobody'"),
        (("new", "learner", "Mine"), "'Mine' is no plugin's name: lower case letters"),
        (("new", "learner", "mtlcm"), "'mtlcm' is taken by mtlcm.model"),
        (("run", "--data", "none.npz"), "--data 'none.npz' does not exist"),
        (("run", "--config", "none.toml"), "--config 'none.toml' cannot be read"),
    ],
)
def test_wrong_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(capsys, *arguments, code=2)
    assert words in text
    assert text.startswith("error: ")
    assert text.count("\n") == 1


def test_the_hint_for_missing_results_is_a_command_that_works(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(capsys, "status", code=2)
    hint = text[text.index("python -m bench ") : text.rindex("`")].split()[3:]
    assert "--dry-run" not in hint
    assert "nothing was run" in said(capsys, *hint, "--dry-run", "--learners", "pca", "--datasets", "linear-causal")


def test_a_fresh_checkout_compares_and_shows_the_published_records(bench: Run, tmp_path: Path) -> None:
    for command in (("compare", "mtlcm", "mtrn"), ("show", "--dataset", "linear-causal")):
        done = bench(*command, environment={"PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0, done.stderr
        assert "these are the published records" in done.stderr
        assert "Traceback" not in done.stderr
        assert "mtlcm" in done.stdout
        assert done.stdout.isascii()
    assert not list(tmp_path.iterdir())


def test_what_was_not_run_is_named_and_skips_are_grouped(bench: Run, tmp_path: Path) -> None:
    run = ("run", "--learners", "pca,sparse-shared,ivae", "--datasets", "linear-causal,qm9", "--budget", "smoke")
    empty = {"BENCH_DATA": str(tmp_path / "none"), "BENCH_CACHE": str(tmp_path / "cache")}
    assert bench(*run, "--out", "r", environment=empty).returncode == 0
    record = next(
        path
        for path in (tmp_path / "r" / "runs").glob("*.json")
        if json.loads(path.read_text())["spec"]["learner"] == "pca" and '"ok"' in path.read_text()
    )
    record.unlink()
    text = bench("status", "--out", "r").stdout
    assert (
        "not run: python -m bench run with the same options does them (1 cell)\n- linear-causal · pca · seed 0" in text
    )
    assert "needs binary targets, which the data has not (2 cells)\n" in text
    assert {"- qm9: sparse-shared", "- linear-causal: sparse-shared"} <= set(text.splitlines())


def test_a_metric_that_comes_later_is_computed_and_shown(bench: Run, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(METRIC)
    run = ("run", "--learners", "pca", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0", "--out", "r")
    assert "1 cell: 1 to run" in bench(*run).stdout
    assert "1 cell: 0 to run, 1 done before" in bench(*run).stdout
    later = bench(*run, "--plugin", "late.py").stdout
    assert "1 cell: 1 to run" in later
    assert "linear-causal (first-z)" in later
    assert "1 cell: 0 to run" in bench(*run, "--plugin", "late.py").stdout
    assert "linear-causal (first-z)" in bench("show", "--by", "first-z", "--out", "r", "--plugin", "late.py").stdout


def test_a_dry_run_and_a_campaign_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    campaign = ROOT / "examples" / "campaign.toml"
    text = said(capsys, "run", "--config", campaign, "--dry-run")
    assert "12 cells: 12 to run" in text
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"
    assert "4 cells: 4 to run" in said(capsys, "run", "--config", campaign, "--dry-run", "--seeds", "7")
    for content, words in (
        ("learner = 1", "unknown key in c.toml: 'learner'; did you mean learners"),
        ("= 1", "is not valid TOML"),
        ("budget = {a = 1}", "budget is a table; give a value"),
    ):
        Path("c.toml").write_text(content)
        assert words in said(capsys, "run", "--config", "c.toml", code=2)


def test_list_tells_all_about_one_and_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(capsys, "list", "mtlcm")
    for words in ("injective mixing", "TMLR", "| tolerance ", "of stage 2", "smoke 40", "| tcl-segments ", "no: needs"):
        assert words in text
    assert "| n_per_task " in said(capsys, "list", "linear-causal")
    assert "permutation+scaling" in said(capsys, "list", "mcc")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    narrow = said(capsys, "list")
    assert max(map(len, narrow.splitlines())) <= 80
    assert "Leveraging Task Structures" in " ".join(narrow.split()), "the paper is not cut off"


@pytest.mark.parametrize("kind", ["learner", "dataset", "metric"])
def test_a_skeleton_passes_check(
    kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said(capsys, "new", kind, "my-own")
    text = said(capsys, "check", "my_own.py")
    assert text.splitlines()[0].startswith(f"ok   {kind} my-own: ")
    assert text.splitlines()[-1].startswith("1 plugin checked: all is well")
    assert "is there already" in said(capsys, "new", kind, "my-own", code=2)
    assert set(new.SKELETONS) == set(new.NEXT)


def test_a_plugin_that_dies_or_hangs_is_a_finding(bench: Run, tmp_path: Path) -> None:
    """The same file as the run's own test of every way to fail; a line each, a mend each, one line at the end."""
    source = TOY.read_text()
    kept = source[: source.index('@learner("toy-eats"')] + source[source.index('@learner("toy-dies"') :]
    (tmp_path / "toy.py").write_text(kept)
    done = bench("check", "toy.py", "--timeout", 25)
    assert done.returncode == 1
    assert "FAIL learner toy-dies" in done.stdout
    assert "ended by SIGSEGV" in done.stdout
    assert "keeps within time and memory (not done after 25 s)" in done.stdout
    assert "ok   learner toy-copy" in done.stdout
    assert "ok   dataset toy: 9 promises kept" in done.stdout
    assert done.stdout.count("mend:") == done.stdout.count("broken:")
    assert done.stdout.splitlines()[-1].startswith("11 plugins checked: ")


def test_datasets_and_metrics_that_break_their_promise_are_told_how_to_mend_it(bench: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        new.DATASET.format(name="wrong-data", title="Wrong", function="wrong_data").replace(
            "rng = np.random.default_rng(seed)", "rng = np.random.default_rng()"
        )
        + new.METRIC.format(name="wrong-metric", title="Wrong", function="wrong_metric")
        .replace("from __future__ import annotations", "")
        .replace('range="(-inf, 1]"', 'range="[2, 3]"')
    )
    text = bench("check", "wrong.py").stdout
    assert "broken: same seed, same data to the bit" in text
    assert "mend:   draw everything from numpy.random.default_rng(seed)" in text
    assert "broken: stays in its range" in text


def test_a_quick_reproduction_shows_its_own_size_and_leaves_no_file(bench: Run, tmp_path: Path) -> None:
    done = bench("reproduce", "--learner", "mtlcm", "--quick", "--out", "r")
    assert done.returncode == 0, done.stderr
    assert "small (" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "codes",
        "index.jsonl",
        "plan",
        "runs",
        "store.json",
    ]


def test_no_wheel_is_made_and_the_reason_is_said() -> None:
    """A wheel would overwrite files of the package 'datasets' that many have."""
    code = "import sys; sys.path.insert(0, '.ci'); import build_backend; build_backend.build_wheel('/nowhere')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "makes no wheel: its folder 'datasets' would overwrite" in done.stderr
    assert "pip install -e ." in done.stderr
