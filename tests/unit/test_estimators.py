"""Learners as estimators: scikit-learn's own checks, arrays as users have them, saved and read back without pickle."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from bench import estimators, registry
from bench.errors import UsageError
from bench.estimators.storage import HEADER
from bench.registry import discover
from bench.run.check import small_data

N, T, D = 400, 8, 3
LEARNERS = discover().learners


def on_vectors(name: str) -> bool:
    """Does it learn from plain arrays, as these tests have them?"""
    return "vector" in LEARNERS[name].accepts and "pairs" not in LEARNERS[name].needs


FLOAT32 = {
    "check_methods_subset_invariance": "float32 products round by batch size, to about 1e-7",
    "check_methods_sample_order_invariance": "they round by a row's place in the batch as well, on some runs",
}


def problem(seed: int = 0) -> dict[str, Any]:
    """x (N, 6), y (N,), task (N,) in words, aux, labels: tasks change the factors' scales."""
    rng = np.random.default_rng(seed)
    task = rng.integers(T, size=N)
    z = rng.laplace(size=(N, D)) * rng.uniform(0.5, 3.0, (T, D))[task]
    y = (z * rng.standard_normal((T, D))[task]).sum(axis=1)
    x = z @ rng.standard_normal((D, 6)) + 0.01 * rng.standard_normal((N, 6))
    return {"x": x, "y": y, "task": np.array([f"assay {t}" for t in task]), "number": task}


def small(name: str, **more: Any) -> Any:
    """An estimator at its smoke budget."""
    return estimators.make(name)(n_latents=D, random_state=0, **LEARNERS[name].budgets.get("smoke", {}), **more)


def fitted(name: str, data: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    y = (data["y"] > 0).astype(float) if "binary" in LEARNERS[name].needs else data["y"]
    estimator = small(name).fit(data["x"], y, data["task"])
    return estimator, {"aux": data["number"]} if LEARNERS[name].aux_at_test else {}


def with_one_latent(name: str) -> Any:
    """scikit-learn's checks give one target: one latent factor is all it can identify."""
    return small(name).set_params(n_latents=1)


@parametrize_with_checks(
    [with_one_latent(name) for name in ("mtlcm", "pca", "rrr", "fastica", "raw", "vae", "single-task-regression")],
    expected_failed_checks=lambda estimator: FLOAT32 if "steps" in estimator.get_params() else {},
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("name", [name for name in estimators.class_names().values() if on_vectors(name)])
def test_every_learner_fits_words_as_tasks_and_is_read_back_to_the_bit(name: str, tmp_path: Path) -> None:
    data = problem()
    estimator, more = fitted(name, data)
    codes = estimator.transform(data["x"], **more)
    assert codes.shape[0] == N
    assert np.isfinite(codes).all()
    estimator.save(tmp_path / "model.npz")
    again = estimators.load(tmp_path / "model.npz")
    assert type(again) is type(estimator)
    assert np.array_equal(again.transform(data["x"], **more), codes)
    assert list(again.get_params()) == list(estimator.get_params())
    assert list(again.tasks_) == sorted(set(data["task"]))


@pytest.mark.parametrize("name", ["vae", "single-task-regression"])
def test_codes_depend_on_neither_order_nor_company_but_for_rounding(name: str) -> None:
    """scikit-learn's two checks at the precision that float32 has."""
    data = problem()
    estimator, more = fitted(name, data)
    assert not more
    codes, order = estimator.transform(data["x"]), np.random.default_rng(1).permutation(N)
    tolerance = 1e-5 * codes.std()
    assert np.allclose(estimator.transform(data["x"][order]), codes[order], rtol=0, atol=tolerance)
    assert np.allclose(estimator.transform(data["x"][:7]), codes[:7], rtol=0, atol=tolerance)


def test_the_codes_are_those_of_the_harness() -> None:
    """The estimator adds conventions, not numbers."""
    data = small_data()
    params = {"steps": 20, "flow_steps": 20}
    view = data.train
    learner = registry.load(LEARNERS["mtlcm"])(**params).fit(
        view, seed=5, device="cpu", progress=lambda fraction, text: None
    )
    estimator = estimators.MTLCM(n_latents=view.n_latents, random_state=5, **params).fit(view.x, view.y, view.task)
    assert np.allclose(estimator.transform(data.eval.x_test), learner.encode(data.eval.x_test), rtol=1e-5, atol=1e-6)
    assert np.array_equal(estimator.causal_, learner.causal_)


def test_the_forms_of_targets_agree() -> None:
    """A column a task with NaN, one task a sample, and the long format are one and the same."""
    data = problem()
    x, y, number = data["x"], data["y"], data["number"]
    table = np.full((N, T), np.nan)
    table[np.arange(N), number] = y
    order = np.random.default_rng(1).permutation(N)
    by_task = small("rrr").fit(x, y, number).transform(x)
    by_column = small("rrr").fit(x, pd.DataFrame(table, columns=list("abcdefgh"))).transform(x)
    by_sample = small("rrr").fit(x, y[order], number[order], sample=order).transform(x)
    assert np.allclose(by_task, by_column, atol=1e-6)
    assert np.allclose(by_task, by_sample, atol=1e-6)


def test_pipeline_clone_pandas_and_random_state() -> None:
    data = problem()
    frame = pd.DataFrame(data["x"], columns=list("abcdef"))
    model = small("mtlcm")
    pipeline = make_pipeline(StandardScaler(), clone(model))
    codes = pipeline.fit(frame, data["y"], mtlcm__task=data["task"]).transform(frame)
    assert codes.shape == (N, D)
    direct = clone(model).fit(frame, data["y"], data["task"])
    assert list(direct.feature_names_in_) == list("abcdef")
    assert list(direct.get_feature_names_out()) == ["mtlcm0", "mtlcm1", "mtlcm2"]
    with pytest.raises(ValueError, match="feature names"):
        direct.transform(frame.rename(columns={"a": "other"}))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 -- to see that nobody touched it
    seeds = {clone(model).set_params(random_state=None).fit(frame, data["y"], data["task"]).seed_ for _ in range(2)}
    assert len(seeds) == 2
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_progress_is_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    data = problem()
    small("mtlcm").fit(data["x"], data["y"], data["task"])
    quiet = capsys.readouterr()
    assert quiet.out + quiet.err == ""
    small("mtlcm", verbose=True).fit(data["x"], data["y"], data["task"])
    assert "MTLCM: 100 %" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"y": None}, "requires y to be passed"),
        ({"task": ["a"] * 3}, "task has inconsistent numbers of samples: 3 rows, expected 400"),
        ({"sample": np.arange(N)}, None),
        ({"task": None, "sample": np.arange(N)}, "sample without task"),
        ({"y": ["x"] * N}, "y must be numbers"),
        ({"y": np.full(N, np.inf)}, "y contains infinity"),
        ({"y": np.zeros((N, 2))}, "y has a column a task: leave out task"),
        ({"sample": np.full(N, N)}, "sample must be rows of X: whole numbers from 0 to 399"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], words: str | None) -> None:
    data = problem()
    given = {"y": data["y"], "task": data["task"]} | arguments
    if words is None:
        small("rrr").fit(data["x"], **given)
        return
    with pytest.raises(ValueError, match=words):
        small("rrr").fit(data["x"], **given)


def test_what_cannot_work_says_why() -> None:
    data = problem()
    with pytest.raises(NotFittedError):
        small("mtlcm").transform(data["x"])
    with pytest.raises(ValueError, match="one task cannot span 3 latent factors"):
        small("mtlcm").fit(data["x"], data["y"])
    with pytest.raises(ValueError, match="ivae cannot do without aux: give it to fit"):
        small("ivae").fit(data["x"])
    model = small("ivae").fit(data["x"], aux=data["number"])
    with pytest.raises(ValueError, match=r"transform\(X, aux=…\)"):
        model.transform(data["x"])
    with pytest.raises(ValueError, match="n_latents must be a whole number above 0, not 0"):
        small("rrr").set_params(n_latents=0).fit(data["x"], data["y"], data["task"])
    with pytest.raises(AttributeError, match=r"no attribute 'Mtlcm'; estimators: .*MTLCM"):
        _ = estimators.Mtlcm


def test_a_file_cannot_name_what_it_likes(tmp_path: Path) -> None:
    """A saved estimator is data: a header that names a class from elsewhere is refused, not imported."""
    estimator, _ = fitted("pca", problem())
    path = tmp_path / "model.npz"
    estimator.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays[HEADER].tobytes())
    header["fitted"] = {"dict": [["learner_", {"function": "os:system"}]]}
    arrays[HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match="names os:system, which no saved estimator holds"):
        estimators.load(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(UsageError, match="is no saved estimator"):
        estimators.load(path)
    header["version"] = -1
    arrays[HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match="version -1, this is version"):
        estimators.load(path)


def test_what_cannot_be_saved_is_named() -> None:
    estimator, _ = fitted("pca", problem())
    estimator.learner_.secret_ = lambda: None
    with pytest.raises(UsageError, match=r"fitted\.learner_\.secret_ holds .*without pickle"):
        estimator.save(Path("/dev/null"))
