"""Learners of sequences alone."""
