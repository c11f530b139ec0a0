"""Segments: what ``sizes`` changes is the truth alone."""

from __future__ import annotations

import numpy as np

from datasets.synthetic.segments import tcl_segments

SMALL = {"seed": 3, "d": 3, "n_segments": 4, "n_per_segment": 20}


def test_sizes_are_the_absolute_factors_of_the_same_data() -> None:
    plain, sizes = tcl_segments(**SMALL), tcl_segments(**SMALL, sizes=True)
    np.testing.assert_array_equal(plain.train.x, sizes.train.x)
    np.testing.assert_array_equal(plain.eval.x_independent, sizes.eval.x_independent)
    for name in ("z_train", "z_test", "z_independent"):
        signed = getattr(plain.eval, name)
        assert (signed < 0).any()
        np.testing.assert_array_equal(np.abs(signed), getattr(sizes.eval, name))
    assert (plain.info["sizes"], sizes.info["sizes"]) == (False, True)
