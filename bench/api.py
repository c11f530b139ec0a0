"""The contracts a plugin author imports; nothing here needs more than the standard library.

A learner is one class, a dataset one function, a metric one function, each under its decorator::

    from bench.api import TrainView, learner

    @learner("mean-shift", guarantee="none", paper="nobody, 2024", needs=())
    class MeanShift:
        '''Subtract the mean: an example, not a method.'''

        def __init__(self, *, scale: float = 1.0) -> None:
            self.scale = scale

        def fit(self, view: TrainView, *, seed: int, device: str, progress) -> "MeanShift":
            self.mean_ = view.x.mean(0)
            return self

        def encode(self, x, aux=None):
            return self.scale * (x - self.mean_)

The arguments of a decorator must be literals: ``python -m bench list`` reads them from the source
text (see ``bench.registry``), so that listing the plugins imports neither them nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from bench.assumptions import Property, check_assumes, check_properties

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating[Any]]
    IntArray = NDArray[np.integer[Any]]
    BoolArray = NDArray[np.bool_]

Guarantee = Literal["none", "linear", "block", "permutation+scaling"]
GUARANTEES: tuple[Guarantee, ...] = ("permutation+scaling", "block", "linear", "none")
Budget = Literal["smoke", "standard", "paper"]
BUDGETS: tuple[Budget, ...] = ("smoke", "standard", "paper")
Evidence = Literal["paper", "program", "measured", "aim"]
Kind = Literal["vector", "image", "sequence", "graph"]
KIND_NAMES: tuple[Kind, ...] = ("vector", "image", "sequence", "graph")
TargetType = Literal["continuous", "binary"]

Progress = Callable[[float, str], None]
"""``progress(fraction, message)``: fraction of the fit that is done, in [0, 1], and a short word on it."""


class Diverged(Exception):
    """Raised by a learner whose training left the finite numbers; the cell's status is ``diverged``."""


class NotApplicable(Exception):
    """Raised by a learner or dataset that cannot run here; the cell's status is ``skipped``, the message its reason."""


class MissingData(NotApplicable):
    """Raised when a real dataset is not on this machine; the message ends with the command that mends it."""


class BadData(Exception):
    """Raised when a data file is there but wrong; the message names file, row and column, or both checksums."""


@dataclass(frozen=True)
class TrainView:
    """All that a learner may see. The true latents and the held-out targets are not in it.

    x            n inputs of one kind: a float32 array (n, d_x), or ``Images``, ``Sequences`` or ``Graphs`` of
                 ``bench.toolkit.inputs``
    sample, task, y   (m,) each, targets in long format: y[i] was observed for x[sample[i]] in task[i].
                 A sample may have one task, several or none; m = 0 where the data has no targets
    n_tasks      number of tasks T; every task[i] is in 0..T-1
    n_latents    how many latent factors to recover
    aux          auxiliary variable u of every sample: (n, k) floats, or (n,) integers where u is a category
                 (segment, task of the sample): expand those with ``one_hot`` only if you must
    labels       (n,) integer class labels, where the data has classes
    target_type  "continuous", or "binary" for targets in {0, 1}
    """

    x: Any
    sample: IntArray
    task: IntArray
    y: FloatArray
    n_tasks: int
    n_latents: int
    aux: Any = None
    labels: IntArray | None = None
    target_type: TargetType = "continuous"

    @property
    def kind(self) -> Kind:
        """What x is made of: "vector", "image", "sequence" or "graph"."""
        found: Kind = getattr(self.x, "kind", "vector")
        return found

    @property
    def n_samples(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Episode:
    """A binary few-shot task on held-out samples: a head is fitted on the support and scored on the query.

    shots             samples of each class in the support
    support, query    indices into the rows of x_test, without a row in common
    y_support, y_query   labels in {0, 1}
    group_query       group of every row of the query: class and spurious attribute together. The worst group counts
    """

    shots: int
    support: IntArray
    y_support: IntArray
    query: IntArray
    y_query: IntArray
    group_query: IntArray


@dataclass(frozen=True)
class EvalView:
    """What the metrics see and no learner does.

    x_test, aux_test        held-out inputs, as in TrainView
    sample_test, task_test, y_test   their targets in long format
    z_train, z_test         (n, d_z) true latents of the training and the held-out samples; None where unknown
    x_independent, z_independent, aux_independent   a set whose latents are drawn independently (product of their
                            marginals) and pushed through the same mixing; synthetic data only
    ceiling_train, ceiling_test, ceiling_independent   (n, d_z) the best estimate of z from x given the true mixing
                            and noise, made for the training distribution; None where x determines z,
                            that is, where the ceiling is z itself
    causal                  (n_tasks, d_z) bool: which factors cause which target; None where unknown
    latent_names            names of the d_z factors, where they have any
    centre                  (d_z,) the point about which the factors lie symmetrically, where the orthants around it may
                            be left out one by one (``ood_r2``); None where that means nothing
    oracles                 reference rows that need the truth: by name a function that gives the codes of the training,
                            the held-out and, where there are any, the independent samples
    spread                  (d_z,) deviation of the factors over all their combinations, where the held-out samples show
                            but some that were never trained on (``held_out_r2``); else None
    episodes                few-shot tasks on held-out samples, whose heads the harness fits (``few_shot_acc``)
    smiles_test             where the held-out samples are molecules, the SMILES of each, "" where it is unknown: the
                            report draws them
    target_names            names of the n_tasks targets, where they have any
    """

    x_test: Any
    aux_test: Any = None
    sample_test: IntArray | None = None
    task_test: IntArray | None = None
    y_test: FloatArray | None = None
    z_train: FloatArray | None = None
    z_test: FloatArray | None = None
    x_independent: Any = None
    z_independent: FloatArray | None = None
    aux_independent: Any = None
    ceiling_train: FloatArray | None = None
    ceiling_test: FloatArray | None = None
    ceiling_independent: FloatArray | None = None
    causal: BoolArray | None = None
    latent_names: tuple[str, ...] = ()
    centre: FloatArray | None = None
    oracles: Mapping[str, Callable[[], tuple[FloatArray, ...]]] = field(default_factory=dict)
    spread: FloatArray | None = None
    episodes: tuple[Episode, ...] = ()
    smiles_test: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """What a dataset returns. ``info`` goes into the record: JSON values only, e.g. row counts and content hashes.

    ``info["title"]``, where given, is shown on the board instead of the dataset's name
    ("QM9, 14,715 of 133,885 molecules").
    """

    train: TrainView
    eval: EvalView
    info: Mapping[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """A representation learner. The constructor takes keyword parameters with defaults and only stores them.

    After ``fit`` a learner may carry, and the harness then records:
    ``n_parameters_`` int; ``causal_`` (n_tasks, d) bool and ``spurious_`` (n_tasks, d) float, per code;
    ``history_`` a dict of JSON values (chosen hyperparameters, losses).
    """

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        """Learn from ``view`` alone. All randomness must follow from ``seed``; ``device`` is "cpu" or "cuda"."""
        ...

    def encode(self, x: Any, aux: Any = None) -> FloatArray:
        """Codes (n, d) of the inputs x, finite floats; the posterior mean where there is a posterior.

        ``aux`` is handed over only to learners registered with ``aux_at_test=True``.
        """
        ...


@dataclass(frozen=True)
class Info:
    """What every registered plugin says of itself; ``origin`` and ``attribute`` say where its code is."""

    name: str
    summary: str = ""
    paper: str = ""
    version: int = 1
    requires: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origin: str = ""
    attribute: str = ""


@dataclass(frozen=True)
class LearnerInfo(Info):
    """guarantee     what the theory identifies, given its assumptions
    assumptions   those assumptions, in words
    assumes       the same as names of ``bench.assumptions.VOCABULARY``
    needs         parts of the TrainView it cannot do without: "targets", "aux", "labels", "binary", "pairs";
                  alternatives as "labels|aux"
    accepts       the kinds of x it takes
    aux_at_test   does the auxiliary variable reach the encoder at test time?
    reference     a floor or ceiling row, not a competitor
    effort        names of the parameters that ``run --effort`` scales, whole numbers such as "steps"; none: one point
    by_kind       constructor parameters by kind of x, {"image": {"steps": 600}}: over the defaults, under the budget
    versions      versions on kinds of x whose results changed when others' did not, {"graph": 9}; else ``version``
    """

    guarantee: Guarantee = "none"
    assumptions: str = ""
    assumes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ("vector",)
    aux_at_test: bool = False
    reference: bool = False
    effort: tuple[str, ...] = ()
    by_kind: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)

    def version_on(self, kind: str) -> int:
        """Its version on data of that kind."""
        return self.versions.get(kind, self.version)


@dataclass(frozen=True)
class DatasetInfo(Info):
    """provides   parts of the TrainView it has: "targets", "aux", "labels", "binary", and "pairs" where the auxiliary
               variable names two samples each
    kind       kind of x
    truth      are the true latents known?
    source     name of the downloadable files it reads (``bench.run.sources``), or ""
    properties   which assumptions of theorems the data meet: {name: "yes", "nearly" or "no"}, or by parameters
               (``bench.assumptions``); what is missing is unknown
    testing    made to see that learners run, not to judge them: "all datasets" has it at the smoke budget alone
    on_request   left out where all datasets are selected: it needs a file of the user's, or its cells take too long
    difficulty   parameters that make it easier or harder, each with its values from easy to hard (``run --sweep``)
    """

    provides: tuple[str, ...] = ()
    kind: Kind = "vector"
    truth: bool = True
    source: str = ""
    properties: Mapping[str, Property] = field(default_factory=dict)
    testing: bool = False
    on_request: bool = False
    difficulty: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperSetting:
    """A line of the reproduction table: a learner on its own paper's ground (``SETTINGS`` in a ``reproduction.py``).

    title           the setting, in the paper's words
    learner, learner_params, dataset, dataset_params   what is run; parameters not named keep the constructor's defaults
    metric          the score that is compared
    reference       the number to reach, as text ("0.926-0.933"), and ``source``, where it comes from
    evidence        what the reference is: "paper", a number that a paper prints; "program", what a released program
                    gave when measured; "measured", what the same objective or a simpler method gave when measured
                    here; "aim", what this suite asks for. Verdicts are counted apart by it
    reference_cpu_s CPU seconds of one fit of the program the reference comes from, where measured; our fits are
                    then made one by one, as a share of a pass over five seeds is no fit
    expect          what must hold for the verdict "reproduced": "each >= 0.90", "mean <= 0.7", and against another
                    learner's setting on the same data "mean >= ivae - 0.03", "above ivae" (``statistics.expectations``)
    fixed_data      one data seed and five model seeds, instead of five of each
    quick           parameters of learner and dataset that ``--quick`` changes: {"learner": {...}, "dataset": {...}};
                    the expectations are not judged there
    """

    title: str
    learner: str
    dataset: str
    metric: str
    reference: str
    source: str
    expect: tuple[str, ...]
    learner_params: Mapping[str, Any] = field(default_factory=dict)
    dataset_params: Mapping[str, Any] = field(default_factory=dict)
    evidence: Evidence = "aim"
    reference_cpu_s: float | None = None
    fixed_data: bool = False
    quick: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Plugin = TypeVar("Plugin", bound=Callable[..., Any])


def _register(info: Info) -> Callable[[Plugin], Plugin]:
    def mark(plugin: Plugin) -> Plugin:
        vars_ = getattr(plugin, "__dict__", {})
        plugin.__bench__ = (*vars_.get("__bench__", ()), info)  # type: ignore[attr-defined]
        return plugin

    return mark


def learner(
    name: str,
    *,
    guarantee: Guarantee,
    paper: str,
    summary: str = "",
    assumptions: str = "",
    assumes: Sequence[str] = (),
    needs: Sequence[str] = (),
    accepts: Sequence[str] = ("vector",),
    aux_at_test: bool = False,
    reference: bool = False,
    effort: Sequence[str] = (),
    requires: Sequence[str] = (),
    version: int = 1,
    versions: Mapping[str, int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
    by_kind: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Plugin], Plugin]:
    """Register a Learner class under ``name``; stack decorators to register variants of one class.

    defaults   constructor parameters of this variant
    by_kind    others by the kind of x, where one setting does not fit all: {"image": {"steps": 600}}; over the defaults
    budgets    further constructor parameters by budget, e.g. {"smoke": {"epochs": 2}, "paper": {"epochs": 2000}}
    version    raise it when results change: stored cells of the old version are then run again
    versions   by the kind of x, where results change on some kinds alone: {"graph": 9}; never lower than ``version``
    assumes    names of ``bench.assumptions.VOCABULARY``; ValueError for others
    """
    return _register(
        LearnerInfo(
            name=name,
            summary=summary,
            paper=paper,
            version=version,
            requires=tuple(requires),
            defaults=dict(defaults or {}),
            budgets=dict(budgets or {}),
            guarantee=guarantee,
            assumptions=assumptions,
            assumes=check_assumes(name, assumes),
            needs=tuple(needs),
            accepts=tuple(accepts),
            aux_at_test=aux_at_test,
            reference=reference,
            effort=tuple(effort),
            by_kind=dict(by_kind or {}),
            versions=dict(versions or {}),
        )
    )


def dataset(
    name: str,
    *,
    paper: str,
    summary: str = "",
    provides: Sequence[str] = (),
    kind: Kind = "vector",
    truth: bool = True,
    source: str = "",
    properties: Mapping[str, Property] | None = None,
    testing: bool = False,
    on_request: bool = False,
    difficulty: Mapping[str, Sequence[Any]] | None = None,
    requires: Sequence[str] = (),
    version: int = 1,
    defaults: Mapping[str, Any] | None = None,
    budgets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Plugin], Plugin]:
    """Register a function ``load(*, seed: int, **parameters) -> Data`` under ``name``.

    All randomness must follow from ``seed``. Where the truth is unknown the held-out samples must not depend on
    the seed (only the training set may): codes of different seeds are compared on them.

    properties   as in ``DatasetInfo``; ValueError for what ``bench.assumptions`` cannot read
    """
    return _register(
        DatasetInfo(
            name=name,
            summary=summary,
            paper=paper,
            version=version,
            requires=tuple(requires),
            defaults=dict(defaults or {}),
            budgets=dict(budgets or {}),
            provides=tuple(provides),
            kind=kind,
            truth=truth,
            source=source,
            properties=check_properties(name, properties or {}),
            testing=testing,
            on_request=on_request,
            difficulty={name: tuple(values) for name, values in (difficulty or {}).items()},
        )
    )
