"""Executors run planned cells and hand back their records."""
