"""A benchmark of identifiable representation learning; ``bench.evaluate`` scores codes that were made elsewhere."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.scoring import evaluate

__version__ = "0.1.0"
__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    # on first use: `python -m bench list` must not import numpy
    if name == "evaluate":
        from bench.scoring import evaluate

        return evaluate
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
