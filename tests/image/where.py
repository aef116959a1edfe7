"""A pipeline whose workers tell where the project's modules come from: `where.py CORPUS TOLD [options of Beam]`."""

import json
import os
import sys

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from seqcls_beam.config import ReadOptions
from seqcls_beam.model import resolve
from seqcls_beam.transforms import Classify, ReadRecords, Tokenize


def tell(predictions: pa.RecordBatch, told: str) -> None:
    """Leave word of a worker that has classified a batch."""
    files = {
        name: module.__file__
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("seqcls_beam", "pipelines") and module.__file__
    }
    said = {"rows": len(predictions), "user": os.getuid(), "python": sys.prefix, "files": files}
    with open(told, "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    corpus, told, *options = sys.argv[1:]
    checkpoint = resolve("sentiment")
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        records = pipeline | ReadRecords(ReadOptions(input=(corpus,)))
        records | Tokenize(checkpoint) | Classify(checkpoint) | beam.Map(tell, told)
