"""Options, each written once: its help, unit, range and default.

The command line (`pipelines/options.py`) is derived from these dataclasses, a file a command, and the library takes the
same objects. A wrong value raises `ValueError` while the object is built, before anything starts. Imports nothing else
of the project.
"""

from seqcls_beam.config.classify import ModelOptions, ReadOptions

__all__ = ["ModelOptions", "ReadOptions"]
