"""Is what a plugin says of itself well-formed? Asked of the literals in its decorator, before it is registered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.api import BUDGETS, GUARANTEES, KIND_NAMES
from bench.errors import unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
PARTS = ("targets", "aux", "labels", "binary", "pairs")
WORDS: dict[tuple[str, str], Sequence[str]] = {
    ("learner", "needs"): (*PARTS, "truth"),
    ("learner", "accepts"): KIND_NAMES,
    ("dataset", "provides"): PARTS,
    ("metric", "needs"): ("truth", "task", "causal", "targets", "independent", "spread", "episodes", "centre"),
}
CHOICES: dict[tuple[str, str], Sequence[str]] = {
    ("learner", "guarantee"): GUARANTEES,
    ("metric", "tests"): GUARANTEES,
    ("metric", "direction"): ("higher", "lower"),
    ("dataset", "kind"): KIND_NAMES,
    ("dataset", "target_type"): ("continuous", "binary"),
}
LISTS = ("needs", "accepts", "provides", "requires", "effort")
TEXTS = ("paper", "summary", "assumptions", "source", "range")
FLAGS = ("aux_at_test", "reference", "truth", "testing", "on_request")
NESTED: dict[str, tuple[str, Sequence[str]]] = {"budgets": ("budget", BUDGETS), "by_kind": ("kind", KIND_NAMES)}


def check_metadata(decorator: str, positional: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise ValueError, in words, for the first thing that is wrong.

    decorator   "learner", "dataset" or "metric"
    positional, named   its arguments
    """
    for name in positional[:1] or [named.get("name")]:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(
                f"the name {name!r:.60} is none: letters, digits, '.', '_', '+' and '-', at most 80, no sign first"
            )
    for key, value in named.items():
        _check(decorator, key, value)


def _check(decorator: str, key: str, value: Any) -> None:
    if key in LISTS:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ValueError(f"{key}={value!r:.60} must be a list of words, such as {key}=({value!r:.60},)")
        for word in value:
            if not isinstance(word, str) or not word:
                raise ValueError(f"{key} holds {word!r:.60}, which is no word")
            known = WORDS.get((decorator, key))
            for option in word.split("|") if known else []:
                if option not in (known or ()):
                    raise ValueError(str(unknown(f"word in {key}:", option, known or ())))
    elif (decorator, key) in CHOICES:
        choices = CHOICES[decorator, key]
        if value not in choices:
            raise ValueError(str(unknown(f"{key}", str(value), choices)))
    elif key == "version":
        if type(value) is not int or value < 1:
            raise ValueError(f"version={value!r:.60} must be a whole number from 1")
    elif key == "versions" and value is not None:
        if not isinstance(value, dict) or any(type(number) is not int or number < 1 for number in value.values()):
            raise ValueError(f"versions={value!r:.60} must be whole numbers from 1 by kind, such as {{'graph': 2}}")
        for kind in value:
            if kind not in KIND_NAMES:
                raise ValueError(str(unknown("kind", str(kind), KIND_NAMES)))
    elif key in TEXTS and not isinstance(value, str):
        raise ValueError(f"{key}={value!r:.60} must be text")
    elif key in TEXTS and any(letter < " " and letter not in "\n\t" for letter in value):
        raise ValueError(f"{key}={value!r:.60} has control characters")
    elif key in FLAGS and not isinstance(value, bool):
        raise ValueError(f"{key}={value!r:.60} must be True or False")
    elif key == "defaults" and value is not None:
        _check_parameters(key, value)
    elif key == "difficulty" and value is not None:
        _check_difficulty(value)
    elif key in NESTED and value is not None:
        what, words = NESTED[key]
        if not isinstance(value, dict):
            raise ValueError(f"{key} must be a dict of dicts, by {what}")
        for word, values in value.items():
            if word not in words:
                raise ValueError(str(unknown(f"{what} in {key}:", str(word), words)))
            _check_parameters(f"{key}[{word!r}]", values)


def _check_difficulty(difficulty: Any) -> None:
    _check_parameters("difficulty", difficulty)
    for name, values in difficulty.items():
        if not isinstance(values, list | tuple) or len(values) < 2:
            raise ValueError(f"difficulty of {name!r:.60} must be a list of two values at least, from easy to hard")


def _check_parameters(where: str, values: Any) -> None:
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{where} must be a dict of parameters by name")
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"{where} holds a value that JSON has not; give numbers, strings, lists and dicts") from None
