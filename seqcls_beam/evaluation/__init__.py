"""Evaluation: outcomes → additive statistics → metrics."""
