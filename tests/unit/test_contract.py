"""One parametrised test covers every learner: it keeps the contract, and no learner can see the latents."""

from dataclasses import replace

import numpy as np
import pytest

from bench import registry
from bench.api import Data, LearnerInfo
from bench.run.check import check_learner, small_data, small_data_for
from bench.run.learning import Inputs, Learning, Work

FOUND = registry.discover()
LEARNERS = [name for name, info in FOUND.learners.items() if "truth" not in info.needs]


@pytest.mark.parametrize("name", LEARNERS)
def test_learner_keeps_the_contract(name: str) -> None:
    findings = list(check_learner(FOUND.learners[name]))
    broken = [f"{finding.promise}: {finding.detail}" for finding in findings if not finding.kept]
    assert not broken
    assert len(findings) == 8, "the check stopped early"


def codes_of(info: LearnerInfo, data: Data) -> list[np.ndarray]:
    params = registry.parameters(info) | dict(info.budgets.get("smoke", {}))
    if "truth" in info.needs:
        return list(registry.load(info)(**params).codes(data, seed=2)[:2])
    learning = Learning()
    learning.prepare(Work(info, params, [2]), data.train)
    learning.fit()
    learning.take(Inputs(data.eval.x_test, data.eval.aux_test))
    encoded = learning.encode(0)
    return [encoded.train, encoded.test]


@pytest.mark.parametrize("name", LEARNERS)
def test_scrambled_latents_change_no_code(name: str) -> None:
    info = FOUND.learners[name]
    data = small_data_for(info)
    rng = np.random.default_rng(1)
    truth = data.eval
    assert truth.z_train is not None
    assert truth.z_test is not None
    scrambled = replace(truth, z_train=rng.permutation(truth.z_train), z_test=rng.standard_normal(truth.z_test.shape))
    plain, blind = codes_of(info, data), codes_of(info, replace(data, eval=scrambled))
    for first, second in zip(plain, blind, strict=True):
        assert np.array_equal(first, second)


def test_the_references_do_see_them() -> None:
    """The test above would notice: the oracle's codes follow the scrambled latents."""
    data = small_data()
    assert data.eval.z_test is not None
    changed = replace(data, eval=replace(data.eval, z_test=data.eval.z_test[::-1].copy()))
    info = FOUND.learners["oracle"]
    assert not np.array_equal(codes_of(info, data)[1], codes_of(info, changed)[1])
