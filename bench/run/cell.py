"""A RunSpec to its record: load, fit, encode, score."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.api import BadData, Data, Diverged, LearnerInfo, MissingData, NotApplicable
from bench.registry import Registry
from bench.run import provenance
from bench.run.meter import Meter, resident_mib
from bench.run.spec import RunSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.floating[Any]]

Progress = Callable[[float, str], None]


class BadCodes(Exception):
    """A learner's codes break the contract; the message says how."""


@dataclass(frozen=True)
class Encoded:
    """What is left of a fitted learner when it has encoded everything: codes, and what it says of itself."""

    train: Codes
    test: Codes
    independent: Codes | None = None
    n_parameters: int | None = None
    causal: Any = None
    history: Mapping[str, Any] | None = None


def run_cells(
    specs: Sequence[RunSpec],
    found: Registry,
    *,
    codes_path: Callable[[RunSpec], Path] | None = None,
    threads: int = 1,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Run cells that differ in nothing but repetition and model seed; yields their records in order.

    Several cells are fitted in one pass (``fit_many``). Whatever goes wrong becomes a status and a reason, never an
    exception; what goes wrong before the codes of each seed, goes wrong for all of them.
    """
    from bench.toolkit.inputs import kind_of

    spec = specs[0]
    meter = Meter(spec.device)
    common: dict[str, Any] = {}

    def finished(one: RunSpec, record: dict[str, Any], of: Meter) -> dict[str, Any]:
        phases = {name: _divided(spent, len(specs)) for name, spent in meter.phases.items()}
        return {
            "spec": asdict(one),
            "status": "ok",
            "reason": "",
            **common,
            **record,
            "phases": phases | of.phases,
            "memory": {**meter.memory, **of.memory, "peak_mib": max(meter.peak_so_far(), of.peak_so_far())},
            "fitted_together": len(specs),
            "provenance": provenance.stamp(one.device, threads),
        }

    try:
        learner_info, dataset_info = found.learner(spec.learner), found.dataset(spec.dataset)
        learner_class, load = registry.load(learner_info), registry.load(dataset_info)
        meter.memory["baseline_mib"] = resident_mib()
        with meter.phase("load"):
            progress(0.0, "loading data")
            data: Data = load(seed=spec.data_seed, **spec.dataset_params)
        if kind_of(data.train.x) != dataset_info.kind:
            raise BadData(f"{dataset_info.name} declares {dataset_info.kind}s and gave {kind_of(data.train.x)}s")
        common["data"] = json_values(dict(data.info), "the dataset's info")
        with meter.peak_memory("fit_peak_mib"), meter.phase("fit"):
            progress(0.0, "fitting")
            fitted = fit(learner_info, learner_class, specs, data, progress)
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything; its cells record it and the run goes on
        for one in specs:
            yield finished(one, _failure(error), Meter(one.device))
        return
    for one, learner in zip(specs, fitted, strict=True):
        own = Meter(one.device)
        try:
            encoded = encode(learner_info, learner, data, own)
            with own.phase("score"):
                progress(1.0, "scoring")
                record = {
                    "n_parameters": encoded.n_parameters,
                    "history": json_values(dict(encoded.history or {}), f"{one.learner}.history_"),
                    "metrics": _score(data, encoded, one, found),
                }
            if codes_path is not None and data.eval.z_test is None:
                _save_codes(codes_path(one), encoded)
        except Exception as error:  # noqa: BLE001
            record = _failure(error)
        yield finished(one, record, own)


def fit(
    info: LearnerInfo, learner_class: Any, specs: Sequence[RunSpec], data: Data, progress: Progress
) -> Sequence[Any]:
    """Fitted learners, one a spec, on the TrainView alone.

    Only a reference row of the harness sees the truth: its codes stand in for the learner.
    """
    learner = learner_class(**specs[0].learner_params)
    if "truth" in info.needs:
        return [learner.codes(data, seed=spec.model_seed) for spec in specs]
    if len(specs) > 1:
        seeds = [spec.model_seed for spec in specs]
        together: Sequence[Any] = learner.fit_many(data.train, seeds=seeds, device=specs[0].device, progress=progress)
        return together
    learner.fit(data.train, seed=specs[0].model_seed, device=specs[0].device, progress=progress)
    return [learner]


def encode(info: LearnerInfo, learner: Any, data: Data, meter: Meter) -> Encoded:
    """Codes of training, held-out and independent inputs, every one checked.

    Raises Diverged for codes that are not finite, BadCodes for codes of the wrong type or shape, and whatever the
    learner raises.
    """
    if "truth" in info.needs:
        return Encoded(*learner)
    history = getattr(learner, "history_", None)
    if history and history.get("diverged") is True:
        raise Diverged("training left the finite numbers")

    def codes_of(x: Any, aux: Any) -> Codes:
        return checked_codes(learner.encode(x, aux) if info.aux_at_test else learner.encode(x), len(x), info.name)

    with meter.peak_memory("encode_peak_mib"), meter.phase("encode"):
        train = codes_of(data.train.x, data.train.aux)
        test = codes_of(data.eval.x_test, data.eval.aux_test)
        has_independent = data.eval.x_independent is not None
        independent = codes_of(data.eval.x_independent, data.eval.aux_independent) if has_independent else None
    if train.shape[1] != test.shape[1]:
        raise BadCodes(f"{info.name}.encode gave {train.shape[1]} codes a sample, then {test.shape[1]}")
    return Encoded(
        train,
        test,
        independent,
        n_parameters=getattr(learner, "n_parameters_", None),
        causal=getattr(learner, "causal_", None),
        history=history,
    )


def json_values(value: Any, where: str) -> Any:
    """The value in JSON's own types; numbers that are not finite, which JSON has not, become None.

    Raises BadCodes for anything else, naming ``where``.
    """
    if isinstance(value, Mapping):
        return {str(key): json_values(item, where) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return json_values(value.tolist(), where)
    if isinstance(value, list | tuple):
        return [json_values(item, where) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise BadCodes(f"{where} holds a {type(value).__name__}, which JSON cannot; give numbers, strings, lists and dicts")


def _failure(error: Exception) -> dict[str, Any]:
    """Status, reason and traceback of what a learner or dataset raised."""
    if isinstance(error, NotApplicable):
        return {"status": "skipped", "reason": str(error), "missing_data": isinstance(error, MissingData)}
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, Diverged):
        return {"status": "diverged", "reason": str(error) or "training diverged", "traceback": trace}
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return {"status": "oom", "reason": f"out of memory: {_one_line(error)}", "traceback": trace}
    return {"status": "failed", "reason": _one_line(error), "traceback": trace}


def _divided(spent: Mapping[str, float], n: int) -> dict[str, float]:
    """The share of each of n cells that were fitted together."""
    return {name: seconds / n for name, seconds in spent.items()}


def checked_codes(codes: Any, n_samples: int, learner: str) -> Codes:
    """The codes as a finite (n_samples, d) array; raises BadCodes or Diverged with what is wrong."""
    import numpy as np

    if not isinstance(codes, np.ndarray):
        raise BadCodes(f"{learner}.encode returned a {type(codes).__name__}, not a numpy array (n, d)")
    if codes.ndim != 2 or codes.shape[0] != n_samples or codes.shape[1] == 0:
        raise BadCodes(f"{learner}.encode returned shape {codes.shape} for {n_samples} samples, not ({n_samples}, d)")
    if not np.issubdtype(codes.dtype, np.floating):
        raise BadCodes(f"{learner}.encode returned {codes.dtype}, not floats")
    bad = int(codes.size - np.isfinite(codes).sum())
    if bad:
        raise Diverged(f"{bad} of {codes.size} codes are NaN or infinite")
    return codes


def _score(data: Data, encoded: Encoded, spec: RunSpec, found: Registry) -> dict[str, Any]:
    from bench.metrics.base import ScoreInput
    from bench.metrics.evaluate import evaluate

    truth, train = data.eval, data.train
    scores = evaluate(
        ScoreInput(
            z_train=truth.z_train,
            codes_train=encoded.train,
            z_test=truth.z_test,
            codes_test=encoded.test,
            z_independent=truth.z_independent,
            codes_independent=encoded.independent,
            ceiling_train=truth.ceiling_train,
            ceiling_test=truth.ceiling_test,
            ceiling_independent=truth.ceiling_independent,
            causal_true=truth.causal,
            causal_found=encoded.causal,
            sample_train=train.sample,
            task_train=train.task,
            y_train=train.y,
            sample_test=truth.sample_test,
            task_test=truth.task_test,
            y_test=truth.y_test,
            seed=spec.data_seed,
        ),
        full=spec.budget == "paper",
        plugins={info.name: registry.load(info) for info in found.foreign_metrics()},
    )
    return {name: json_values(asdict(score), f"metric {name}") for name, score in scores.items()}


def _save_codes(path: Path, encoded: Encoded) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, test=encoded.test.astype(np.float32))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    if isinstance(error, BadCodes) or name == "BadData":
        return text
    return f"{name}: {text}" if text else name
