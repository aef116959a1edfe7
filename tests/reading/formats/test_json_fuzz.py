"""Lines that are JSON, nearly JSON and no JSON, against Python's `json` and the rules as they are written here."""

import json
import random
import re
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.formats import jsonl, pieces
from seqcls_beam.reading.records import plan_layout, read_unit
from seqcls_beam.schema import Mark
from tests.reading.reader import cut, files, stored

GOOD = {
    "id": 1,
    "big": 2**64 - 1,
    "score": 0.5,
    "name": "a",
    "flag": True,
    "tags": [0.5, 1],
    "meta": {"a": 1, "b": ["c"], "d": {"e": 0.5}},
    "raw": 1,
    "text": "good",
}
KEEP = ("id", "big", "score", "name", "flag", "tags", "meta", "raw:string", "text")
TYPES: dict[str, Any] = {
    "id": "int64",
    "big": "uint64",
    "score": "float64",
    "name": "string",
    "flag": "bool",
    "tags": ["float64"],
    "meta": {"a": "int64", "b": ["string"], "d": {"e": "float64"}},
    "raw": "anything",
    "text": "text",
}
VALID = (
    "0 -0 1 -1 1.0 1.50 1e3 1E+3 -0.0 0.1 1e-400 1e400 -1e400 1e22 1e23 1.7976931348623157e308 5e-324 "
    "9007199254740992 9007199254740993 -9007199254740993 9007199254740993.0 9007199254740993e0 9007199254740992.25 "
    "9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 "
    "18446744073709551615 18446744073709551616 123456789012345678901"
)
INVALID = "01 1. .5 - +1 1e 0x1 --1 1e+ NaN -NaN Infinity -Infinity Inf nan 1_0 ١"
PARTS = [
    "a",
    " ",
    "é",
    "😀",
    "\\n",
    '\\"',
    "\\\\",
    "\\/",
    "\\u0041",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00",
    "}{",
]
PARTS += ["\\x", "\\u12", "\0", "\t", "\x7f", "\u2028", "NaN,", "\\b\\f", "[", '": {"', "\\uDBFF\\uDFFF", "\ufeff"]
SPACES = ["", "", "", " ", "\t", "  ", " \t", "\xa0", "\x0b", "\ufeff", "\0"]
BYTES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"\\",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b" ",
    b"N",
    b"\xed\xa0\x80",
]


class Digits(str):
    """A number as it is written."""


class Writer:
    """A source of random JSON, some of it wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def space(self) -> str:
        return self.random.choice(SPACES[: 7 if self.random.random() < 0.98 else None])

    def string(self) -> str:
        known = 14 if self.random.random() < 0.9 else len(PARTS)
        return '"' + "".join(self.random.choices(PARTS[:known], k=self.random.randint(0, 4))) + '"'

    def number(self) -> str:
        if self.random.random() < 0.5:
            return str(self.random.randint(-(10 ** self.random.randint(1, 22)), 10 ** self.random.randint(1, 22)))
        return self.random.choice((VALID if self.random.random() < 0.97 else INVALID).split())

    def value(self, depth: int = 0) -> str:
        kind = self.random.randrange(8 if depth < 4 else 5)
        if kind < 2:
            return self.number()
        if kind < 4:
            return self.string()
        if kind == 4:
            return self.random.choice(["null", "true", "false", "null", "true", "false", "nul", "True"])
        some = range(self.random.randint(0, 3))
        if kind < 7:
            return self.between("[", [self.value(depth + 1) for _ in some], "]")
        return self.between("{", [self.member(self.name(), self.value(depth + 1)) for _ in some], "}")

    def name(self) -> str:
        return self.random.choice(['"a"', '"b"', '"d"', '"e"', '"\\u0061"', '""', '"a.b"', self.string()])

    def member(self, name: str, value: str) -> str:
        return f"{name}{self.space()}:{self.space()}{value}"

    def between(self, begin: str, parts: list[str], end: str) -> str:
        comma = self.random.choice([","] * 60 + [",,", "", ", ,"])
        return begin + self.space() + (self.space() + comma + self.space()).join(parts) + self.space() + end

    def fitting(self, name: str) -> str:
        return {
            "id": self.number,
            "big": self.number,
            "score": self.number,
            "flag": lambda: self.random.choice(["true", "false", "null"]),
            "tags": lambda: self.between("[", [self.number() for _ in range(self.random.randint(0, 3))], "]"),
            "meta": lambda: self.between("{", self.meta(), "}"),
            "raw": self.value,
        }.get(name, self.string)()

    def meta(self) -> list[str]:
        found = [self.member('"a"', self.number()), self.member('"b"', f"[{self.string()}]")]
        found.append(self.member('"d"', self.between("{", [self.member(self.name(), self.number())], "}")))
        return self.random.sample(found, self.random.randint(0, 3))

    def row(self) -> str:
        names = self.random.sample(sorted(GOOD), self.random.choice([1, 2, 3, 9]))
        values = {name: json.dumps(GOOD[name]) for name in names if self.random.random() < 0.9}
        for name in self.random.choices(list(GOOD), k=self.random.randint(0, 2)):
            values[name] = self.fitting(name) if self.random.random() < 0.8 else self.value()
        if self.random.random() < 0.9:
            values.setdefault("text", '"good"')
        found = [self.member(json.dumps(name), value) for name, value in values.items()]
        for _ in range(self.random.choice([0, 0, 1, 2])):
            found.insert(
                self.random.randint(0, len(found)),
                self.member(self.random.choice(['"x"', '"te\\u0078t"', self.string()]), self.value()),
            )
        return self.space() + self.between("{", found, "}") + self.space()

    def line(self) -> bytes:
        kind = self.random.random()
        if kind < 0.4:
            return json.dumps(GOOD).encode()
        line = (
            self.row() if kind < 0.97 else self.random.choice([self.value(), "", "  ", self.row() + self.row()])
        ).encode()
        for _ in range(self.random.choice([0] * 6 + [1, 1, 2])):
            at = self.random.randint(0, len(line))
            line = (
                line[:at]
                + self.random.choice([b"", *BYTES, bytes([self.random.randrange(256)])])
                + line[at + self.random.randint(0, 2) :]
            )
        return line


class Wrong(Exception):
    """A line is no row."""


def expected(line: bytes, columns: list[str]) -> dict[str, Any]:
    """Line → the values of the columns; raises `Wrong` with the reason."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Wrong("invalid_utf8") from None
    try:
        pairs = json.loads(
            text, object_pairs_hook=tuple, parse_int=Digits, parse_float=Digits, parse_constant=lambda _: 1 / 0
        )
    except (ValueError, ZeroDivisionError):
        raise Wrong("invalid_json") from None
    if type(pairs) is not tuple:
        raise Wrong("invalid_json")
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in columns):
        raise Wrong("duplicate_key")
    values = dict(pairs)
    row = {}
    for name in columns:
        fits(values.get(name), TYPES[name])
        row[name] = sound(values.get(name), TYPES[name])
    if row["text"] is None:
        raise Wrong("missing_text")
    if "\0" in row["text"]:
        raise Wrong("nul_byte")
    if not row["text"].strip():
        raise Wrong("empty_text")
    return row


def fits(value: Any, type_: Any) -> None:
    """Raise `Wrong` where a value is not of a type."""
    kind = type(value)
    if value is None or type_ == "anything":
        return
    if isinstance(type_, list) and kind is list:
        for each in value:
            fits(each, type_[0])
    elif isinstance(type_, dict) and kind is tuple:
        for name, each in value:
            if name not in type_:
                raise Wrong("wrong_type")
            fits(each, type_[name])
    elif kind is Digits and type_ == "float64":
        plain = not set(value) & set("eE")
        if abs(float(value)) == float("inf") or (
            plain and abs(float(value)) >= 2**53 and Fraction(float(value)) != Fraction(value)
        ):
            raise Wrong("wrong_type")
    elif kind is Digits and type_ in ("int64", "uint64"):
        low, high = (-(2**63), 2**63) if type_ == "int64" else (0, 2**64)
        # Of uint64, -0 is refused, too: a sign has no place there.
        if not re.fullmatch("-?[0-9]+", value) or not low <= int(value) < high or (value == "-0" and low == 0):
            raise Wrong("wrong_type")
    elif not (
        (kind is str and type_ in ("string", "text"))
        or (kind is Digits and type_ == "string" and type_ is TYPES["name"])
        or (kind is bool and type_ == "bool")
    ):
        raise Wrong("wrong_type")


def sound(value: Any, type_: Any) -> Any:
    """A value that fits, as it is kept; raises `Wrong` where it cannot be."""
    if type_ == "anything" and type(value) is not str:
        return value if value is None or type(value) is Digits else ("written", value)
    if isinstance(type_, list) and value is not None:
        return [sound(each, type_[0]) for each in value]
    if isinstance(type_, dict) and value is not None:
        names = [name for name, _ in value]
        if len(set(names)) < len(names):
            raise Wrong("duplicate_key")
        found = dict(value)
        return {name: sound(found.get(name), each) for name, each in type_.items()}
    if type(value) is str and re.search("[\ud800-\udfff]", value):
        raise Wrong("lone_surrogate")
    if type(value) is Digits and type_ in ("int64", "uint64"):
        return int(value)
    return float(value) if type(value) is Digits and type_ == "float64" else value


def same(kept: Any, right: Any, line: bytes) -> bool:
    """Whether a kept value is the right one, or is written in the line and says it."""
    if not isinstance(right, tuple):
        return repr(kept) == repr(right if not isinstance(right, Digits) else str(right))
    written = json.loads(kept, object_pairs_hook=tuple, parse_int=Digits, parse_float=Digits)
    return kept in line.decode() and repr(written) == repr(right[1])


def check(seed: int, count: int, keep: tuple[str, ...]) -> dict[str, int]:
    """Read so many lines and compare each row; how many there were by reason."""
    writer = Writer(seed)
    begin = json.dumps(GOOD).encode() + b"\n"
    data = begin + b"".join(writer.line() + writer.random.choice([b"\n"] * 8 + [b"\r\n", b"\r"]) for _ in range(count))
    options = {"keep_columns": keep, "batch_rows": 1000}
    sample = files(stored(begin, "fuzz-sample.jsonl"))
    layout = plan_layout(sample, ReadOptions(input=("fuzz-sample.jsonl",), **options))  # type: ignore[arg-type]
    whole = files(stored(data, "fuzz.jsonl"))
    bounds = sorted({0, len(data), *(writer.random.randint(0, len(data)) for _ in range(4))})
    found = [row for batch in read_unit(Mark(unit=0, units=1).on(whole), layout) for row in batch.to_pylist()]
    assert found == [
        row for batch in read_unit(Mark(unit=0, units=1).on(cut(whole, bounds)), layout) for row in batch.to_pylist()
    ], f"seed {seed}, cut at {bounds}"
    rows = {row["position"]: row for row in found}
    assert len(rows) == len(found)
    reasons: dict[str, int] = {}
    at = 0
    for part in re.split(rb"(\r\n|\n|\r)", data):
        if part.strip(b" \t\r\n"):
            row = rows.pop(at)
            try:
                right = expected(part, [each.split(":")[0] for each in keep])
                reason = "good"
            except Wrong as error:
                reason = str(error)
            told = f"seed {seed}, line {part!r}, {row}"
            if reason == "good":
                assert row["reject"] is None, told
                assert row["text"] == right["text"], told
                assert all(same(row["keep"][name], right[name], part) for name in right), told
            else:
                assert row["reject"] is not None, told
                assert (row["reject"]["reason"], row["reject"]["raw"]) == (reason, part), told
            reasons[reason] = reasons.get(reason, 0) + 1
        at += len(part)
    assert not rows, f"seed {seed}, {rows}"
    print(f"seed {seed}: {count} lines, {reasons}")
    return reasons


@pytest.mark.parametrize("keep", [KEEP, ("id", "score", "tags", "name", "text"), ("flag", "big", "text")])
def test_lines_are_what_json_says_of_them(keep, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 50_000)
    reasons = check(14, 2_000, keep)
    assert min(reasons[each] for each in ("good", "invalid_json", "wrong_type", "lone_surrogate", "duplicate_key")) > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_lines_are_what_json_says_of_them(seed, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 3_000 if seed % 2 else 2**20)
    monkeypatch.setattr(jsonl, "LEAF", seed % 7 + 1)
    check(seed, 20_000, [KEEP, ("id", "score", "tags", "name", "text"), ("flag", "big", "text")][seed % 3])


def test_the_types_are_those_that_are_fuzzed():
    sample = files(stored(json.dumps(GOOD).encode(), "fuzz-sample.jsonl"))
    keep = plan_layout(sample, ReadOptions(input=("fuzz-sample.jsonl",), keep_columns=KEEP)).keep
    assert (keep.field("big").type, keep.field("tags").type) == (pa.uint64(), pa.list_(pa.float64()))
    assert str(keep.field("meta").type) == "struct<a: int64, b: list<item: string>, d: struct<e: double>>"
