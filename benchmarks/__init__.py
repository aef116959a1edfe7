"""Measurements with the peer beside them; not tests. Each prints a table and writes a JSON to benchmarks/results/."""
