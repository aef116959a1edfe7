"""Parquet whose decoded bytes are out of proportion to what is stored, and beside it what plain pyarrow reads."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqcls_beam.reading.formats import parquet, row_groups
from tests.reading import peak
from tests.reading.reader import batches, rows, stored

MANY, SIZE = 1500, 2**20
LIMIT = 500 * 2**20  # bytes above what the process had; decoded at once each of the files has 1.5 GB


def repeated(count, size=SIZE):
    """A value, so many times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * size]))


def listed(bounds, values):
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values)


def bombs(many):
    one, few = repeated(many), ["good"] * 20
    late = [0] * 20 + [many]  # all but the last are empty
    last = listed(late, one)
    yield "kept", pa.table({"text": ["good"] * many, "kept": one}), {}
    yield "late list", pa.table({"text": few, "kept": last}), {"record_too_large": 1}
    deep = listed([*range(20), 21], listed([*late, many], one).slice(0, 21))
    yield "list in a list", pa.table({"text": few, "kept": deep}), {"record_too_large": 1}
    inside = listed(late, pa.StructArray.from_arrays([one], ["a"]))
    yield "struct in a list", pa.table({"text": few, "kept": inside}), {"record_too_large": 1}
    pairs = pa.MapArray.from_arrays(pa.array(late, pa.int32()), pa.array(np.arange(many)), one)
    yield "map", pa.table({"text": few, "kept": pairs}), {"record_too_large": 1}
    if many > MANY:
        bounds = pa.array(np.arange(20_001) * 4096, pa.int32())
        zeros = pa.ListArray.from_arrays(bounds, pa.array(np.zeros(20_000 * 4096)))
        yield "lists of zeros", pa.table({"text": ["good"] * 20_000, "kept": zeros}), {}


@pytest.mark.parametrize("many", [MANY, pytest.param(20_000, marks=pytest.mark.slow)])
def test_memory_is_bounded_by_what_is_decoded(many, tmp_path):
    expected, paths = [], []
    for name, table, reasons in bombs(many):
        paths.append(tmp_path / f"{name}.parquet")
        pq.write_table(table, paths[-1], compression="zstd", store_schema=False, row_group_size=2**26)
        assert paths[-1].stat().st_size < 200_000
        expected.append((len(table), reasons))
    if many == MANY:  # values that share all of their beginning, for which the writer takes as much memory
        paths.append(tmp_path / "shared.parquet")
        alike = pa.table({"text": pa.array(["x" * SIZE] * (many // 2), pa.string())})
        pq.write_table(alike, paths[-1], use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"})
        expected.append((many // 2, {}))
    found = peak.read(*paths)
    assert [(each["rows"], each["reasons"]) for each in found] == expected
    assert max(each["bytes"] for each in found) < LIMIT, found


def test_a_row_that_is_too_large_is_rejected_with_what_else_it_has(monkeypatch):
    monkeypatch.setattr(row_groups, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(parquet, "MAX_ROW_BYTES", 1000)
    lists = listed([0, 1, 30, 31], repeated(31, 100))
    cells = pa.array(["a", "b", "c" * 2000])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["one", "two", "three"], "lists": lists, "cells": cells}), sink)
    found = rows(stored(sink.getvalue().to_pybytes(), "large.parquet"))
    assert found[0]["keep"] == {"text": "one", "lists": ["x" * 100], "cells": "a"}
    assert [row["reject"] and row["reject"]["reason"] for row in found] == [
        None,
        "record_too_large",
        "record_too_large",
    ]
    # By hand: 8 bytes a place and 100 a string, in a list of 29; 8 and 3 of the text, 8 and 1 of the cell.
    assert found[1]["reject"]["detail"].startswith(f"the row has {8 + 29 * 108 + 11 + 9} bytes; at most 1000 are read")
    assert found[1]["reject"]["raw"] == b'{"text": "two", "lists": null, "cells": "b"}'
    assert found[2]["reject"]["raw"] == b'{"text": "three", "lists": ["' + b"x" * 100 + b'"], "cells": null}'


def test_beside_a_row_that_is_too_large_others_keep_cells_of_any_size_that_they_may_have(monkeypatch):
    monkeypatch.setattr(row_groups, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(parquet, "MAX_ROW_BYTES", 1000)
    texts, cells = ["a" * 2000, "b", "c" * 700], ["d", "e" * 700, "f"]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts, "cells": cells}), sink, use_dictionary=False)
    found = rows(stored(sink.getvalue().to_pybytes(), "beside.parquet"))
    assert [row["reject"] and row["reject"]["reason"] for row in found] == ["record_too_large", None, None]
    assert [row["keep"] for row in found[1:]] == [
        {"text": text, "cells": cell} for text, cell in zip(texts[1:], cells[1:], strict=True)
    ]


def ordinary(count):
    chance = random.Random(count)
    words = [chance.choice([None, "", "é", "word " * chance.randrange(40), f"{i}"]) for i in range(count)]
    flat = pa.array(words)
    bounds = np.cumsum([0, *(chance.randrange(3) for _ in range(count))])
    many = pa.array([words[i % count] for i in range(bounds[-1])])
    lists = listed(bounds, many)
    return {
        "flat": flat,
        "large": flat.cast(pa.large_string()),
        "view": flat.cast(pa.string_view()),
        "bytes": flat.cast(pa.binary()),
        "names": flat.dictionary_encode(),
        "fixed": pa.array([None if each is None else each.encode().ljust(8)[:8] for each in words], pa.binary(8)),
        "struct": pa.StructArray.from_arrays([flat, pa.array(range(count))], ["a", "b"]),
        "list": lists,
        "large list": pa.LargeListArray.from_arrays(pa.array(bounds, pa.int64()), many.cast(pa.large_string())),
        "list of structs": listed(bounds, pa.StructArray.from_arrays([many, many.cast(pa.binary())], ["a", "b"])),
        "list of names": listed(bounds, many.dictionary_encode()),
        "map": pa.MapArray.from_arrays(
            pa.array(bounds, pa.int32()), pa.array([str(i) for i in range(len(many))]), many
        ),
        "lists in lists": listed([0, *range(count)], lists),
        "numbers": listed(bounds, pa.array(range(len(many)))),
        "json": pa.ExtensionArray.from_storage(pa.json_(), flat),
        "two": pa.array([["a", each] for each in words], pa.list_(pa.string(), 2)),
    }


@pytest.mark.parametrize("encoding", ["PLAIN", "RLE_DICTIONARY", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
@pytest.mark.parametrize("chunk", [700, 2**21])
def test_values_are_those_that_plain_pyarrow_reads(encoding, chunk, monkeypatch):
    monkeypatch.setattr(parquet, "CHUNK", chunk)
    for name, values in ordinary(300).items():
        table = pa.table({"text": ["good"] * 300, "kept": values})
        how = {}
        if encoding != "RLE_DICTIONARY":
            schema = pq.ParquetFile(pa.BufferReader(_written(table))).schema
            leaves = [schema.column(number) for number in range(len(schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            # What was a dictionary when it was written pyarrow itself reads of no other encoding.
            how = {"use_dictionary": False, "column_encoding": dict.fromkeys(texts, encoding), "store_schema": False}
        data = _written(table, row_group_size=170, data_page_size=500, **how)
        plain = pq.read_table(pa.BufferReader(data))
        found = pa.concat_tables(
            pa.table({"kept": batch["keep"].field("kept")}) for batch in batches(stored(data, f"{name}.parquet"))
        )
        assert found["kept"].to_pylist() == plain["kept"].to_pylist(), name


def _written(table, **how):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **how)
    return sink.getvalue().to_pybytes()
