"""The commands. Nothing that is shipped to a worker is defined here."""

import seqcls_beam.transforms  # noqa: F401  (Beam warns when it is imported, and this room knows of what)
