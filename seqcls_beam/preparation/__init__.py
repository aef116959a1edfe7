"""Labelled records → shards to fine-tune on: columnar steps, and the stages that take files through them.

Knows no Beam and no torch.
"""
