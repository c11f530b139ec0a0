"""Datasets whose samples are sequences."""
