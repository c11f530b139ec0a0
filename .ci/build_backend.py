"""Builds what an editable install needs, and refuses to make a wheel.

A wheel would put the folder ``datasets`` beside the popular package of that name and overwrite files of it, on the
machine of somebody who uses both. An editable install only adds this checkout to the end of the import path: there
the other package wins, and the suite says so instead of breaking it.
"""

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401 -- the hooks a front end looks for
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
)

REASON = (
    "identifiability-bench makes no wheel: its folder 'datasets' would overwrite files of the package 'datasets' of "
    "Hugging Face. Install it from a checkout: pip install -e ."
)


def build_wheel(*arguments, **options):
    raise SystemExit(REASON)


def build_sdist(sdist_directory, config_settings=None):
    """A source archive is the checkout itself, which is safe."""
    return build_meta.build_sdist(sdist_directory, config_settings)
