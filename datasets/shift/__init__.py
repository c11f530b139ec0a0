"""Shift: pre-training on many tasks, then few-shot tasks whose support misleads."""
