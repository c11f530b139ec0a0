"""No line of a document that nobody has run: README's commands are executed small, those of the other pages parsed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import make_parser
from tests.end_to_end.test_strangers_path import mine

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
SMOKE = ("--budget", "smoke", "--seeds", "0")
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def commands(page: str) -> list[str]:
    """The command lines of a page: indented by four, in fences, or between backquotes; comments cut off."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"\\\n\s*", "", text)  # a command over several lines
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    lines += re.findall(r"`((?:python -m|make|pip|mkdocs) [^`]+)`", text)
    lines += [line.strip() for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
    lines = [part for line in lines for part in line.split(" && ") if "…" not in line]
    lines = [re.sub(r"\s+(#.*|&)$", "", line) for line in lines]  # comments, and what runs a command beside others
    return list(dict.fromkeys(line for line in lines if re.match(r"(python|make|pip|git|mkdocs) ", line)))


def words_of(command: str) -> list[str]:
    """The arguments after ``python -m bench``, place holders filled."""
    return [word.replace("NAME", "mtlcm") if word.isupper() else word for word in shlex.split(command)[3:]]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_every_page_is_one(page: str) -> None:
    for command in commands(page):
        if command.startswith("python -m bench "):
            if "[" in command or "…" in command:  # a synopsis
                continue
            words = words_of(command)
            try:
                made = make_parser().parse_args(words)
            except SystemExit:
                pytest.fail(f"{page}: '{command}' is no command line of this version")
            assert made.command
        elif command.startswith("make "):
            assert command.split()[1] in TARGETS, f"{page}: {command}"
        elif command.startswith("python -m "):
            module = command.split()[2]
            assert module in ("venv", "pytest") or importlib.util.find_spec(module), f"{page}: {command}"
        elif command.startswith("python ") and not command.startswith("python -"):
            assert (ROOT / command.split()[1]).exists() or command.split()[1].startswith("my"), f"{page}: {command}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for page in [*PAGES, "CHANGELOG.md"]:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not target.startswith(("http", "mailto")):
                assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def small(words: list[str]) -> list[str]:
    """A README command at a size a test can pay: smoke budget, one seed, two learners where all are named."""
    if words[0] == "run" and "--dry-run" not in words and "--config" not in words:
        words = [word for word in words if word != "--all"]
        for option in ("--seeds", "--budget"):
            if option in words:
                at = words.index(option)
                del words[at : at + 2]
        if "--learners" not in words:
            words += ["--learners", "raw,pca", *([] if "--sweep" in words else ["--datasets", "linear-causal"])]
        words = ["linear-causal.noise" if word == "*" else word for word in words]
        words = [word.replace("d=20", "d=4").replace("k=4", "k=2") for word in words]
        return [*words, *SMOKE]
    if words[0] == "check" and len(words) == 1:
        return ["check", "pca"]
    if words[0] == "audit":
        return ["audit", "--learners", "mtlcm", "--datasets", "linear-causal", "--sample", "1", "--within", "5"]
    if words[0] == "reproduce":
        return [*words, "--learner", "mtlcm", "--out", "quick"]
    return words


NOT_HERE = {
    "--executor ray": "needs a cluster; tests/end_to_end/test_ray.py has one",
    "fetch": "downloads",
    "verify": "reads whatever real data there is, for minutes",
    "$": "holds a variable of a scheduler; tests/end_to_end/test_cluster.py runs those templates",
    "parts/*": "has no folders here; tests/end_to_end/test_cluster.py merges some",
    "part0": "tests/end_to_end/test_cluster.py runs it on eight shards",
    "FILE": "a place holder",
    "A B": "a place holder",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_suites_commands_in_the_other_pages_run(tmp_path: Path) -> None:
    """Those of CONTRIBUTING.md and docs/ that README has not, small; ``NOT_HERE`` says which are not, and why."""
    known = set(commands("README.md")) - set(commands("CONTRIBUTING.md"))
    mine(tmp_path)
    ran = []
    for page in PAGES[1:]:
        for command in commands(page):
            words = shlex.split(command)
            if words[:3] != ["python", "-m", "bench"] or command in known or command in ran:
                continue
            if "[" in command or any(sign in command for sign in NOT_HERE):
                continue
            done = subprocess.run(
                [sys.executable, "-m", "bench", *small(words_of(command))],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr
            ran.append(command)
    assert {"python -m bench new dataset my-data", "python -m bench list --kinds"} <= set(ran)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two dozen commands, each a process of its own
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    """In the order of the page, in one folder, as a reader would; small."""
    mine(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "campaign.toml").write_bytes((ROOT / "examples" / "campaign.toml").read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = 0
    for command in commands("README.md"):
        if not command.startswith("python -m bench ") or "fetch" in command:  # a download is no test
            continue
        words = small(words_of(command))
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command} -> {' '.join(words)}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        ran += 1
    assert ran >= 20


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    mine(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        quick = block.replace("random_state=0", "random_state=0, steps=20, flow_steps=20")
        assert quick != block or "MTLCM(" not in block
        done = subprocess.run(
            [sys.executable, "-c", quick],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "| mcc " in done.stdout


def test_the_notebook_runs(tmp_path: Path) -> None:
    """Its code cells in order, in one namespace, as a kernel would; the picture and the score are there at the end."""
    notebook = json.loads((ROOT / "examples" / "indicators.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "kept without outputs"
    done = subprocess.run(
        [sys.executable, "-c", "\n\n".join(cells)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "| mcc " in done.stdout
    assert int(re.findall(r"(\d+)% of the indicators are right", done.stdout)[0]) >= 90


def test_the_example_recovers_the_indicators(tmp_path: Path) -> None:
    """From arrays to the heat map; its data are made with a known answer."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "indicators.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    drawing = (tmp_path / "indicators.txt").read_text().splitlines()
    assert len(drawing) == 13
    right = int(re.findall(r"(\d+)% of the indicators are right", done.stdout)[0])
    assert right >= 90
