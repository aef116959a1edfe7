"""What Spark reads by lines of Python, each the making of a data frame: run by an interpreter that has pyspark.

PYTHON tests/spark_rows.py reads a JSON list of lines from standard input and prints their rows, a list for each.
"""

import json
import sys
from typing import Any

from pyspark.sql import SparkSession


def main() -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")  # or the machine's own name has to resolve
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    found: list[list[dict[str, Any]]] = []
    for line in json.load(sys.stdin):
        frame = eval(line, {"spark": spark})
        found.append([row.asDict() for row in frame.collect()])
    spark.stop()
    json.dump(found, sys.stdout, default=str)  # dates as they are written


if __name__ == "__main__":
    main()
