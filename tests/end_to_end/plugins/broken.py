"""Plugins that cannot be used, each in another way; the others must run as if they were not there."""

from bench.api import learner
from bench.metrics.base import metric


@learner("broken-default", guarantee="none", paper="none")
class NoDefault:
    """Has a parameter without a default."""

    def __init__(self, *, steps):
        self.steps = steps


@metric("broken-metric", tests="linear", range="[0, 1]", paper="none")
def raises(z_train, codes_train, z_test, codes_test):
    """Raises whatever it is given."""
    raise KeyError("no idea")
