"""The sections of the profile: title and measurement. ``quick`` means sizes so small that only the code is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.profiling import cells, learners, long, parts, ratios

Content = dict[str, Any]
"""note, tables and curves of a section, see ``report``."""

SECTIONS: dict[str, tuple[str, Callable[[bool], Content]]] = {
    "seeds": ("Ratios: many seeds in one pass", ratios.seeds_together),
    "ratios": ("Ratios: both stages against Adam", ratios.ratios),
    "stage2": ("Stage 2: the linear causal model", parts.stage2),
    "stage1": ("Stage 1: the multi-task regression network", parts.stage1),
    "learners": ("Learners: one step at the standard budget", learners.learners),
    "metrics": ("Metrics", parts.metrics),
    "generation": ("Generating the data", parts.generation),
    "cells": ("Overhead of a cell, start-up", cells.cells),
}

LONG: dict[str, tuple[str, Callable[[bool], Content]]] = {
    "stage1-long": ("Measured on request: stage 1 against the whole of the released training", long.stage1),
    "stage2-long": ("Measured on request: stage 2 against the paper's optimiser at d = 50", long.stage2),
}
"""Measured only when asked for by ``--only`` or ``--long``: each takes ten minutes of CPU time and more. The page shows
what was measured last, with its date and revision."""
