"""The paper's optimisers, which ``mtlcm`` is measured against: right, and compared as is said."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import TrainView
from tests.benchmarks.profiling import long
from tests.benchmarks.profiling.__main__ import main
from tests.benchmarks.reference_adam import AdamFit, fit_adam, log_density
from tests.benchmarks.reference_network import train_plainly
from tests.benchmarks.stage1_curves import Point, first_at, tables


def test_all_forms_of_the_density_have_the_same_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    draw: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    residual = torch.randn(9, 3, **draw).requires_grad_()
    root = torch.randn(4, 3, 3, **draw).requires_grad_()
    task = torch.tensor([0, 2, 2, 0, 3, 0, 3, 2, 0])  # the second task has no sample
    covariance = root @ root.mT + torch.eye(3, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance[task])
    wanted = law.log_prob(residual).mean()
    slopes = torch.autograd.grad(wanted, (residual, root), retain_graph=True)
    forms: tuple[Any, ...] = ("sample", "task", "closed")
    for per in forms:
        found = log_density(residual, covariance, task, per).mean()
        torch.testing.assert_close(found, wanted)
        for a, b in zip(torch.autograd.grad(found, (residual, root), retain_graph=True), slopes, strict=True):
            torch.testing.assert_close(a, b)


def test_looks_at_adam_see_every_epoch_and_all_forms_take_the_same_path() -> None:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(3), 10)
    h, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    seen: list[AdamFit] = []
    fits = [fit_adam(h, task, y, 3, epochs=4, batch=8, per=per, look=seen.append) for per in ("sample", "closed")]
    assert [fit.epochs for fit in seen] == [1, 2, 3, 4] * 2
    assert all(a.cpu_seconds < b.cpu_seconds for a, b in itertools.pairwise(seen[:4]))
    assert seen[0].loss > seen[3].loss
    np.testing.assert_allclose(fits[0].mixing, fits[1].mixing, rtol=1e-8)


def test_plain_training_fits_targets_of_any_scale_from_inputs_of_any_scale() -> None:
    rng = np.random.default_rng(0)
    z, task = rng.normal(size=(40, 3)), np.arange(40) % 2
    y = np.where(task == 0, z[:, 0], -z[:, 1])

    def losses(x: Any, y: Any) -> list[float]:
        view = TrainView(x=x, n_latents=2, sample=np.arange(40), task=task, y=y, n_tasks=2)
        looks = list(train_plainly(view, [1, 60], hidden=4, batch=40, learning_rate=0.05))
        assert [look.epoch for look in looks] == [1, 60]
        assert looks[0].cpu_s < looks[1].cpu_s
        assert looks[1].encode(x).shape == (40, 2)
        return [look.loss for look in looks]

    first, last = losses(z, y)
    assert 0.3 < first < 1.5, "half the squared error of a random start; targets have variance 1"
    assert last < 0.1
    assert losses(7 + z * [1, 5, 0.2], 100 * y + 3 * task) == pytest.approx([first, last], rel=1e-2)


def test_what_first_reaches_a_level() -> None:
    plain = [Point("epoch 1", 1.0, 0.86), Point("epoch 9", 9.0, 0.93), Point("epoch 99", 99.0, 0.91)]
    ours = [Point("start", 0.5, 0.925), Point("network", 3.0, 0.99)]
    assert first_at(plain, 0.9) == plain[1]
    assert first_at(plain, 0.95) is None
    compared, points = tables(plain, ours, "")
    assert [row[0] for row in compared["rows"]] == [0.85, 0.9, 0.92, 0.93]
    assert [row[-1] for row in compared["rows"]] == [2.0, 18.0, 18.0, 3.0]
    assert len(points["rows"]) == 5
    (_, short) = tables(plain, [], "")[0]["rows"][:2]
    assert short[3:] == ["not reached", None, None]


def test_what_takes_long_is_measured_on_request_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "profile.md"
    main(["--quick", "--only", "stage2-long", "generation", "--to", str(page)])
    kept = json.loads((tmp_path / "profile-long.json").read_text())
    assert list(kept["sections"]) == ["stage2-long"]
    assert list(json.loads(page.with_suffix(".json").read_text())["sections"]) == ["generation"]
    assert page.read_text().count(long.stage2(quick=True)["note"]) == 1
    short = {"generation": ("Generation", lambda quick: {"note": "again", "tables": [], "curves": []})}
    monkeypatch.setattr("tests.benchmarks.profiling.__main__.SECTIONS", short)
    monkeypatch.setattr("tests.benchmarks.profiling.sections.SECTIONS", short)
    main(["--quick", "--to", str(page)])
    assert json.loads((tmp_path / "profile-long.json").read_text()) == kept, "a run without --long leaves it alone"
    assert "again" in page.read_text()
    assert kept["sections"]["stage2-long"]["title"] in page.read_text()
