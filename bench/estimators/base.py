"""The estimator around a learner: scikit-learn's conventions outside, the harness contract inside."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from bench import registry
from bench.api import Diverged, LearnerInfo, NotApplicable
from bench.estimators.arrays import train_view
from bench.run.outcome import checked_codes

COMMON = {"n_latents": 2, "random_state": None, "device": "cpu", "verbose": False}


class LearnerEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What all estimators share.

    n_latents      how many latent factors to recover
    random_state   None, an integer or a RandomState: where the learner's seed comes from
    device         "cpu" or "cuda"
    verbose        show progress on standard error
    All other parameters are the learner's own: ``python -m bench list NAME``.

    After ``fit``: ``learner_`` (the fitted learner of the suite), ``tasks_`` (T,) names of the tasks, ``seed_``,
    ``n_features_in_``, ``feature_names_in_``; ``causal_`` and ``spurious_`` (T, n_latents) and ``history_`` where the
    learner has them.
    """

    info: ClassVar[LearnerInfo]
    n_latents: int
    random_state: Any
    device: str
    verbose: bool

    def fit(
        self, X: Any, y: Any = None, task: Any = None, *, sample: Any = None, aux: Any = None, labels: Any = None
    ) -> Self:
        """Learn a representation of X (n, p).

        y        (n,) one target a sample; (n, T) a column a task, NaN where it was not measured; or, with ``sample``,
                 (m,) in long format: y[i] was measured for X[sample[i]]
        task     (n,) or (m,) the task of every y: numbers or words
        aux      (n,) categories or (n, k) numbers, the auxiliary variable of iVAE and its kin
        labels   (n,) classes
        Raises ValueError for data the learner cannot take.
        """
        X = self._validated(X, reset=True)
        if y is None and "targets" in self.info.needs:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: it learns from targets"
            )
        view, self.tasks_ = train_view(X, y, task, sample, aux, labels, n_latents=self._n_latents(X), info=self.info)
        self.seed_, self.kind_ = _seed(self.random_state), view.kind
        parameters = {name: getattr(self, name) for name in self.learner_parameters()}
        learner = registry.load(self.info)(**parameters)
        try:
            learner.fit(view, seed=self.seed_, device=self.device, progress=self._progress)
        except NotApplicable as reason:
            raise ValueError(f"{type(self).__name__} cannot be fitted to these {len(X)} samples: {reason}") from None
        except Diverged as reason:
            raise ValueError(
                f"{type(self).__name__} diverged ({reason}): rescale X, or lower its learning rate"
            ) from None
        for name in ("causal_", "spurious_", "history_"):
            if hasattr(learner, name):
                setattr(self, name, getattr(learner, name))
        if "iterations" in getattr(learner, "history_", {}):
            self.n_iter_ = max(1, int(learner.history_["iterations"]))
        self.learner_ = learner
        self._n_features_out = self._encode(view.x[:1], None if view.aux is None else view.aux[:1]).shape[1]
        return self

    def transform(self, X: Any, aux: Any = None) -> NDArray[np.float64]:
        """Codes (n, d) of X (n, p); ``aux`` (n,) or (n, k) for learners whose encoder reads it."""
        check_is_fitted(self, "learner_")
        return self._encode(self._validated(X, reset=False), aux)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into one npz file, arrays and a JSON header; ``bench.estimators.load`` reads it.

        Raises UsageError where the learner holds something that is neither.
        """
        from bench.estimators.storage import save

        check_is_fitted(self, "learner_")
        save(self, path)

    @classmethod
    def learner_parameters(cls) -> dict[str, Any]:
        """Names and defaults of the learner's own parameters."""
        return registry.parameters(cls.info)

    def _encode(self, x: Any, aux: Any) -> NDArray[np.float64]:
        name = type(self).__name__
        if self.info.aux_at_test and aux is None:
            raise ValueError(f"the encoder of {name} reads the auxiliary variable: transform(X, aux=…)")
        codes = self.learner_.encode(x, np.asarray(aux)) if self.info.aux_at_test else self.learner_.encode(x)
        try:
            return np.asarray(checked_codes(codes, len(x), name), dtype=np.float64)
        except Diverged as reason:
            raise ValueError(f"{name}: {reason}; X may lie far outside the training range") from None

    def _validated(self, X: Any, *, reset: bool) -> Any:
        if hasattr(X, "kind") and hasattr(X, "flat"):  # images, sequences, graphs of bench.toolkit.inputs
            return X
        X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2 if reset else 1)
        with np.errstate(over="ignore"):
            made = np.array(X, dtype=np.float32)  # a copy: learners may be handed memory that nobody else writes to
        if not np.isfinite(made).all():
            raise ValueError("X has values beyond the range of float32 (about 3e38), infinite there: rescale it")
        return made

    def _n_latents(self, X: Any) -> int:
        if isinstance(self.n_latents, bool) or not isinstance(self.n_latents, int | np.integer) or self.n_latents < 1:
            raise ValueError(f"n_latents must be a whole number above 0, not {self.n_latents!r}")
        return int(self.n_latents)

    def _progress(self, fraction: float, message: str = "") -> None:
        if self.verbose:
            end = "\n" if fraction >= 1.0 else "\r"
            print(f"{type(self).__name__}: {100 * fraction:3.0f} % {message:<40}", end=end, file=sys.stderr, flush=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = "targets" in self.info.needs
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def estimator_class(info: LearnerInfo, name: str, module: str) -> type[LearnerEstimator]:
    """The class of one learner: its constructor has the learner's parameters, so that clone and get_params work.

    Raises UsageError where a parameter has no default, ModuleNotFoundError where a package is missing.
    """
    lacking = registry.missing_requirements(info)
    if lacking:
        raise ModuleNotFoundError(f"{info.name} needs the package {lacking[0]}: pip install {lacking[0]}")
    own = registry.parameters(info)
    defaults: Mapping[str, Any] = {"n_latents": COMMON["n_latents"], **own, **COMMON}

    def __init__(self: LearnerEstimator, *args: Any, **given: Any) -> None:
        bound = signature.bind(self, *args, **given)
        bound.apply_defaults()
        for key, value in bound.arguments.items():
            if key != "self":
                setattr(self, key, value)

    kinds = {"n_latents": inspect.Parameter.POSITIONAL_OR_KEYWORD}
    signature = inspect.Signature(
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(key, kinds.get(key, inspect.Parameter.KEYWORD_ONLY), default=value)
                for key, value in defaults.items()
            ),
        ]
    )
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    docstring = f"{info.summary or info.name} ({info.paper}), as an estimator.\n\n{LearnerEstimator.__doc__}"
    members = {"__init__": __init__, "info": info, "__doc__": docstring, "__module__": module, "__qualname__": name}
    return type(name, (LearnerEstimator,), members)


def _seed(random_state: Any) -> int:
    """A seed from what scikit-learn calls a random state; None does not touch numpy's global one."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
