"""A RunSpec to its record: load, have a learner fit and encode, score. This process holds the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.api import BadData, Data, DatasetInfo, LearnerInfo
from bench.metrics.base import MetricInfo, OutOfDomain
from bench.registry import Registry
from bench.run import provenance
from bench.run.effort import scaled
from bench.run.learning import Encoded, Inputs, Learning, LearningFailed, Learns, Work, silent
from bench.run.meter import Meter, resident_mib
from bench.run.outcome import BadCodes, checked_codes, failure, json_values, one_line
from bench.run.spec import RunSpec
from bench.run.wire import Closed, Malformed
from bench.statistics.convergence import from_history

if TYPE_CHECKING:
    from bench.run.outcome import Codes

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Job:
    """Cells that differ in nothing but repetition and model seed, and all that is needed to run them.

    learner, dataset, metrics   who they are and where their code is; ``metrics`` are those of plugins
    stamp       provenance of code and machine, found once for all cells of a run
    versions    of all metrics that are asked for, built-in ones as well
    keep_codes  hand back all codes as they are, so that metrics of later days can be computed from them
    """

    specs: Sequence[RunSpec]
    learner: LearnerInfo
    dataset: DatasetInfo
    metrics: Sequence[MetricInfo] = ()
    threads: int = 1
    stamp: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    keep_codes: bool = False

    def as_json(self) -> dict[str, Any]:
        value: dict[str, Any] = json_values(asdict(self), "the job")
        return value

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        return cls(
            specs=[RunSpec.from_dict(spec) for spec in values["specs"]],
            learner=LearnerInfo(**values["learner"]),
            dataset=DatasetInfo(**values["dataset"]),
            metrics=[MetricInfo(**metric) for metric in values["metrics"]],
            threads=values["threads"],
            stamp=values["stamp"],
            versions=values["versions"],
            keep_codes=values["keep_codes"],
        )


@dataclass(frozen=True)
class Outcome:
    """A cell's record, and the codes to be stored with it."""

    spec: RunSpec
    record: dict[str, Any]
    codes: Mapping[str, Codes] = field(default_factory=dict)


def job_of(
    specs: Sequence[RunSpec], found: Registry, *, threads: int = 1, salt: str = "", keep_codes: bool = False
) -> Job:
    """The job of cells that share data, parameters and machine; ``salt`` is that of a judged run."""
    spec = specs[0]
    learner, dataset = found.learner(spec.learner), found.dataset(spec.dataset)
    # the process that scores imports them: in a judged run nothing that also brings learners
    learning = {info.origin for info in found.learners.values()} if salt else set()
    metrics = [info for info in found.foreign_metrics() if info.origin not in learning]
    stamp = provenance.stamp(spec.device, threads, learner, dataset)
    stamp |= {"salt": salt} if salt else {}
    versions = {info.name: info.version for info in found.metrics.values() if info.origin not in learning}
    return Job(specs, learner, dataset, metrics, threads, stamp, versions, keep_codes)


def run_cells(job: Job, learning: Learns | None = None, *, progress: Progress = silent) -> Iterator[Outcome]:
    """Run the job's cells; yields their outcomes in order.

    learning   who fits and encodes; None: this process does, for tests and profiles

    Several cells are fitted in one pass (``fit_many``). Whatever a plugin does becomes a status and a reason, never an
    exception; what goes wrong before the codes of each seed, goes wrong for all of them. Only Closed is raised:
    the learner's process is gone, and who watches it knows how it died.
    """
    from bench.toolkit.inputs import kind_of

    specs, spec = job.specs, job.specs[0]
    params = scaled(spec.learner_params, job.learner, spec.effort)
    learning = learning or Learning(progress)
    told_the_truth = "truth" in job.learner.needs and not isinstance(learning, Stored)  # a reference row, made here
    pid = None if told_the_truth else learning.pid
    loading, meter = Meter(spec.device), Meter(spec.device, pid)
    common: dict[str, Any] = {}
    machine: dict[str, Any] = {}

    def finished(one: RunSpec, record: dict[str, Any], of: Meter) -> dict[str, Any]:
        phases = {**loading.phases, **meter.phases}
        return {
            "spec": asdict(one),
            "status": "ok",
            "reason": "",
            **common,
            **record,
            "phases": {name: _divided(spent, len(specs)) for name, spent in phases.items()} | of.phases,
            "memory": {**meter.memory, **of.memory, "peak_mib": max(meter.peak_so_far(), of.peak_so_far())},
            "fitted_together": len(specs),
            "provenance": provenance.finished(job.stamp, machine),
        }

    try:
        load = registry.load(job.dataset)
        with loading.phase("load"):
            progress(0.0, "loading data")
            data: Data = load(seed=spec.data_seed, **spec.dataset_params)
        if kind_of(data.train.x) != job.dataset.kind:
            raise BadData(f"{job.dataset.name} declares {job.dataset.kind}s and gave {kind_of(data.train.x)}s")
        common["data"] = json_values(dict(data.info), "the dataset's info")
        progress(0.0, "fitting")
        pupil: Learns = _Reference(registry.load(job.learner)(**params), data) if told_the_truth else learning
        work = Work(job.learner, params, [one.model_seed for one in specs], spec.device, threads=job.threads)
        machine.update(pupil.prepare(work, data.train))
        meter.memory["baseline_mib"] = resident_mib(pid)
        with meter.peak_memory("fit_peak_mib"), meter.phase("fit"):
            told = pupil.fit()
        if isinstance(told.get("device_peak_mib"), float):
            meter.memory["device_peak_mib"] = told["device_peak_mib"]
        truth = data.eval
        pupil.take(Inputs(truth.x_test, truth.aux_test, truth.x_independent, truth.aux_independent))
    except Closed:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a plugin may raise anything; its cells record it and the run goes on
        for one in specs:
            yield Outcome(one, finished(one, _failure(error), Meter(one.device)))
        return
    for index, one in enumerate(specs):
        own = Meter(one.device, pid)
        codes: dict[str, Codes] = {}
        try:
            with own.peak_memory("encode_peak_mib"), own.phase("encode"):
                encoded = pupil.encode(index)
            progress(1.0, "scoring")
            record, codes = _scored(job, data, encoded, one, own)
        except Closed:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001
            record = _failure(error)
        yield Outcome(one, finished(one, record, own), codes)


def _scored(
    job: Job, data: Data, encoded: Encoded, spec: RunSpec, meter: Meter
) -> tuple[dict[str, Any], dict[str, Codes]]:
    scoring = Meter()
    with scoring.phase("score"):
        metrics = _score(job, data, encoded, spec)
    meter.phases |= scoring.phases
    history = dict(encoded.history)
    verdict = from_history(history)
    record = {
        "n_parameters": encoded.n_parameters,
        "history": history,
        "converged": verdict.converged,
        "converged_reason": verdict.reason,
        "metrics": metrics,
        "metric_versions": dict(job.versions),
    }
    codes = _kept(job, data, encoded)
    return record | ({"codes": sorted(codes)} if codes else {}), codes


def _kept(job: Job, data: Data, encoded: Encoded) -> dict[str, Codes]:
    """The codes that are stored: all, as they are, or the held-out ones where the truth is unknown.

    Beside codes the inferred causal indicators, where the learner has any.
    """
    import numpy as np

    if job.keep_codes:
        parts = {name: getattr(encoded, name) for name in ("train", "test", "independent", "causal")}
        return {name: np.asarray(array) for name, array in parts.items() if array is not None}
    if data.eval.z_test is not None:
        return {}
    indicators = {} if encoded.causal is None else {"causal": np.asarray(encoded.causal)}
    return {"test": encoded.test.astype(np.float32), **indicators}


class Stored:
    """The codes of a cell that was fitted before: it is scored again, with metrics that were not there then."""

    pid: int | None = None

    def __init__(self, codes: Mapping[str, Codes]) -> None:
        self._codes = codes

    def prepare(self, work: Work, view: Any) -> Mapping[str, Any]:
        self._n_train, self._name = view.n_samples, work.info.name
        return {}

    def fit(self) -> Mapping[str, Any]:
        return {}

    def take(self, inputs: Inputs) -> None:
        self._n = {"train": self._n_train, "test": len(inputs.x_test)}
        if inputs.x_independent is not None:
            self._n["independent"] = len(inputs.x_independent)

    def encode(self, index: int) -> Encoded:
        missing = sorted(set(self._n) - set(self._codes))
        if missing:
            raise BadCodes(f"the stored codes lack {missing[0]}")
        codes = {name: checked_codes(self._codes[name], n, self._name) for name, n in self._n.items()}
        return Encoded(codes["train"], codes["test"], codes.get("independent"), causal=self._codes.get("causal"))


class _Reference:
    """A reference row of the harness: its codes are made with the truth, so that no process of a learner is asked."""

    pid: int | None = None

    def __init__(self, reference: Any, data: Data) -> None:
        self._reference, self._data = reference, data

    def prepare(self, work: Work, view: Any) -> Mapping[str, Any]:
        self._work = work
        return {}

    def fit(self) -> Mapping[str, Any]:
        self._codes = [self._reference.codes(self._data, seed=seed) for seed in self._work.seeds]
        return {}

    def take(self, inputs: Inputs) -> None: ...

    def encode(self, index: int) -> Encoded:
        return Encoded(*self._codes[index])


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, LearningFailed):
        return error.record
    if isinstance(error, Malformed):
        return {"status": "failed", "reason": f"the learner's process sent {error}"}
    return failure(error)


def _divided(spent: Mapping[str, float], n: int) -> dict[str, float]:
    """The share of each of n cells that were fitted together."""
    return {name: seconds / n for name, seconds in spent.items()}


def _score(job: Job, data: Data, encoded: Encoded, spec: RunSpec) -> dict[str, Any]:
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
            spread=truth.spread,
            episodes=truth.episodes,
            centre=truth.centre,
            seed=spec.data_seed,
        ),
        full=spec.budget == "paper",
        plugins={info.name: _metric(info) for info in job.metrics},
    )
    return {name: json_values(asdict(score), f"metric {name}") for name, score in scores.items()}


def _metric(info: MetricInfo) -> Any:
    """A metric from elsewhere; one that cannot be imported says so in place of its score."""
    try:
        return registry.load(info)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a plugin may raise anything when it is imported
        reason = f"{info.origin} cannot be imported: {one_line(error)}"

        def absent(*arrays: Any) -> float:
            raise OutOfDomain(reason)

        return absent
