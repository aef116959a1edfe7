"""What DuckDB and Spark read of Iceberg tables: run by the interpreter of .venv-spark, which has both.

PYTHON tests/announcing/iceberg_rows.py reads from standard input a JSON list of (tool, metadata file, condition), and
prints for each the rows that meet it, as objects, and for DuckDB how many files it opened.
"""

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

JARS = Path(sys.prefix) / "jars"


def duckdb_rows(asked: list[tuple[str, str]]) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        for name in ("avro", "iceberg"):
            package = Path(str(importlib.import_module(f"duckdb_extension_{name}").__file__)).parent
            (extension,) = package.glob("extensions/*/*.duckdb_extension")
            connection.load_extension(str(extension))
        connection.execute("set timezone = 'UTC'")
        found = []
        for metadata, where in asked:
            select = f"from iceberg_scan('{metadata.replace(chr(39), 2 * chr(39))}') where {where or 'true'}"
            rows = connection.sql(select)
            names = rows.columns
            plan = connection.sql(f"explain analyze {select}").fetchall()[0][1]
            opened = re.search(r"Total Files Read: (\d+)", plan)
            found.append(
                {
                    "rows": [dict(zip(names, row, strict=True)) for row in rows.fetchall()],
                    "files": int(opened[1]) if opened else None,
                }
            )
        return found


def spark_rows(asked: list[tuple[str, str]]) -> list[dict[str, Any]]:
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")  # or the machine's own name has to resolve
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.jars", ",".join(map(str, JARS.glob("iceberg-spark-runtime-*.jar"))))
        .getOrCreate()
    )
    found = []
    for metadata, where in asked:
        frame = spark.read.format("iceberg").load(metadata)
        if where:
            frame = frame.where(where)
        found.append({"rows": [row.asDict(recursive=True) for row in frame.collect()]})
    spark.stop()
    return found


def main() -> None:
    asked: list[tuple[str, str, str]] = json.load(sys.stdin)
    found: dict[int, dict[str, Any]] = {}
    for tool, read in (("duckdb", duckdb_rows), ("spark", spark_rows)):
        mine = [at for at, each in enumerate(asked) if each[0] == tool]
        if mine:
            found |= dict(zip(mine, read([asked[at][1:] for at in mine]), strict=True))
    json.dump([found[at] for at in range(len(asked))], sys.stdout, default=str)  # dates as they are written


if __name__ == "__main__":
    main()
