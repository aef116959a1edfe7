"""Files → records: patterns become units of work, and the bytes of a unit become RECORD batches.

Records are checked here, and rejected if need be, but never repaired. Knows no model, no run and no Beam.
"""
