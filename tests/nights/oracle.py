"""What must be in the table after each event, by another route: plain transformers and the rows of the inbox."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from seqcls_beam import open_labels
from tests.corpora import plain_scores
from tests.nights.inbox import BLANK, Content, Inbox

NAMES = ("negative", "positive")
"""The labels of the checkpoints, in the order of their outputs."""


@dataclass
class Scorer:
    """Probabilities by plain transformers, each text once a checkpoint."""

    found: dict[Path, dict[str, np.ndarray]] = field(default_factory=dict)

    def scores(self, model: Path, rows: list[str]) -> np.ndarray:
        """float32 [rows, labels]."""
        known = self.found.setdefault(model, {})
        new = sorted({row for row in rows if row not in known}, key=len)  # alike in length: little padding
        known.update(zip(new, plain_scores(model, new), strict=True) if new else [])
        return np.stack([known[row] for row in rows])


def versions(fs: fsspec.AbstractFileSystem, out: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """partition → (number, what it says) of the newest versions, where it is not that there is nothing."""
    fs.invalidate_cache()
    newest: dict[str, str] = {}
    for path in sorted(fs.find(f"{out}/_versions")):
        if found := re.search(r"/_versions/([^/]+)/(\d{8})\.json$", path):
            newest[found[1]] = path
    read = {each: (int(path[-13:-5]), json.loads(fs.cat_file(path))) for each, path in newest.items()}
    return {each: found for each, found in read.items() if found[1]["kind"] != "nothing"}


@dataclass
class Oracle:
    """Looks at a table, again and again, and knows which model was current when each partition came to be."""

    uri: str
    inbox: Inbox
    fs: fsspec.AbstractFileSystem
    out: str  # as `fs` names it
    scorer: Scorer = field(default_factory=Scorer)
    models: dict[str, Path] = field(default_factory=dict)  # by partition

    def look(self, model: Path) -> dict[str, list[str]]:
        """Demand that all that is published is right; what came since the last look is the model's.

        partition → the contents that it has, by name, sorted.
        """
        newest: dict[str, Any] = {}
        while (seen := versions(self.fs, self.out)) != newest:  # a night may publish meanwhile
            newest, rows = seen, open_labels(self.uri).to_table()
        if not newest:
            return {}
        for partition in newest:
            self.models.setdefault(partition, model)
        if not rows.num_rows:
            rows = rows_of_none()
        twice = [each for each, count in Counter(rows["id"].to_pylist()).items() if count > 1]
        assert not twice, f"labelled twice: {len(twice)} rows, such as {twice[:3]}"
        self._demand_whole(rows, newest)
        self._demand_scores(rows)
        return self._contents(rows, newest)

    def _demand_whole(self, rows: pa.Table, newest: dict[str, tuple[int, dict[str, Any]]]) -> None:
        """Each partition has all rows of each content that it has any of, and of no file that it does not name."""
        known = {each.name: each for each in self.inbox.contents}
        there: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for date, name, text in zip(*(rows[key].to_pylist() for key in ("run_date", "id", "text")), strict=True):
            content = name.rpartition("~")[0]
            assert content in known, f"run_date={date} has a row that was never whole in any file: {name}"
            there[f"run_date={date}", content][name] = text
        for (partition, content), found in there.items():
            assert found == known[content].labelled, f"{partition} has other rows of {content}: {len(found)}"
        for partition, (_, manifest) in newest.items():
            has = {content.rpartition("~")[0] for of, content in there if of == partition}
            names = {each["path"].rpartition(f"{self.inbox.folder}/")[2] for each in manifest.get("inputs", [])}
            assert has == names, f"{partition} names {names} and has rows of {has}"
            self._demand_rejects(partition, manifest, [known[each] for of, each in there if of == partition])

    def _demand_rejects(self, partition: str, manifest: dict[str, Any], contents: list[Content]) -> None:
        expected = Counter({each.path: each.texts.count(BLANK) for each in contents if BLANK in each.texts})
        found: Counter[str] = Counter()
        for part in manifest.get("rejects", []):
            with self.fs.open(f"{self.out}/{part['path']}", "rb") as file:
                sources = pq.read_table(file)["source"].to_pylist()
            found.update(each.rpartition(f"{self.inbox.folder}/")[2] for each in sources)
        assert found == expected, f"{partition} rejected {found}, not {expected}"

    def _demand_scores(self, rows: pa.Table) -> None:
        told: dict[Path, set[str]] = defaultdict(set)
        for date in rows["run_date"].unique().to_pylist():
            mine = rows.filter(pc.equal(rows["run_date"], date))
            model = self.models[f"run_date={date}"]
            expected = self.scorer.scores(model, mine["text"].to_pylist())
            np.testing.assert_allclose(np.stack(mine["scores"].to_pylist()), expected, atol=1e-5, err_msg=date)
            clear = np.abs(expected[:, 0] - expected[:, 1]) > 1e-4
            labels = np.array(NAMES)[expected.argmax(1)]
            assert (np.array(mine["label"].to_pylist()) == labels)[clear].all(), f"labels of run_date={date}"
            told[model] |= set(mine["model"].to_pylist())
        assert all(len(each) == 1 for each in told.values()), f"models are told by more than one name: {told}"
        assert len(set.union(*told.values(), set())) == len(told), f"two models are told by one name: {told}"

    def _contents(self, rows: pa.Table, newest: dict[str, Any]) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {partition: set() for partition in newest}
        for date, name in zip(rows["run_date"].to_pylist(), rows["id"].to_pylist(), strict=True):
            found[f"run_date={date}"].add(name.rpartition("~")[0])
        return {partition: sorted(each) for partition, each in found.items()}

    def demand_all(self) -> None:
        """Demand that every row of every content is labelled once, for all readers, and nothing is left of the work.

        A content that took the place of another one is labelled whole, and the rows of the one before it stay.
        """
        expected = sorted(name for each in self.inbox.contents for name in each.labelled)
        assert sorted(open_labels(self.uri).to_table(columns=["id"])["id"].to_pylist()) == expected
        plain = ds.dataset(f"{self.out}/labels", filesystem=self.fs, format="parquet", partitioning="hive")
        assert sorted(plain.to_table(columns=["id"])["id"].to_pylist()) == expected
        self.fs.invalidate_cache()
        left = self.fs.find(f"{self.out}/_attempts")
        assert not left, f"work that nobody goes on with: {left[:5]}"

    def demand_approved(self, partitions: set[str]) -> None:
        """Demand that a reader of what is approved gets the rows of these partitions, all of them and no others."""
        every = open_labels(self.uri).to_table(columns=["run_date", "id"]).to_pylist()
        found = open_labels(self.uri, approved=True).to_table(columns=["run_date", "id"]).to_pylist()
        expected = [each for each in every if f"run_date={each['run_date']}" in partitions]
        assert sorted(each["id"] for each in found) == sorted(each["id"] for each in expected)


def rows_of_none() -> pa.Table:
    """A table without rows."""
    names = ("run_date", "id", "text", "label", "model")
    return pa.table({**dict.fromkeys(names, pa.array([], pa.string())), "scores": pa.array([], pa.list_(pa.float32()))})
