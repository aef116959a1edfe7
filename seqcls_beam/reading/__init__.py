"""Files → records: patterns become units of work, and the bytes of a unit RECORD batches.

Knows no model, no run and no Beam; a record is what is written in a file, checked, and nothing is made of it.
"""
