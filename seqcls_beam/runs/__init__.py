"""A run is a transaction: parts are written aside, checked, and published together or not at all.

Knows no model and no Beam; whoever makes rows of whatever kind, here they become files that count.
"""
