"""MTLCM (Chen et al. 2024): multi-task regression network (stage 1) and linear causal model (stage 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlcm.model import MTLCM

__all__ = ["MTLCM"]


def __getattr__(name: str) -> Any:
    if name == "MTLCM":
        from mtlcm.model import MTLCM

        return MTLCM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
