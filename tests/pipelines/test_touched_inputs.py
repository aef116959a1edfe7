"""Files that were touched between the units that read them: looked at once more, and no more often than that."""

from typing import Any

import pytest

from pipelines import prepare
from seqcls_beam.reading.formats.pieces import Piece
from seqcls_beam.runs import accounting
from tests import tiny
from tests.corpora import texts, write_jsonl

pytestmark = pytest.mark.engine


def test_prepare_reads_what_was_touched_once_more_and_not_for_each_of_its_stages(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "rows.jsonl", [{"text": text, "label": "xy"[i % 2]} for i, text in enumerate(texts(60))])
    verify, compare = Piece.verify, accounting._compare
    asked: list[tuple[str, int]] = []

    def touched(piece: Piece, file: Any) -> dict[str, Any]:
        return {**verify(piece, file), "state": f"changed before byte {piece.start} was read"}

    def counted(piece: dict[str, Any]) -> None:
        asked.append((piece["path"], piece["start"]))
        compare(piece)

    monkeypatch.setattr(Piece, "verify", touched)
    monkeypatch.setattr(accounting, "_compare", counted)
    made = [f"--input={tmp_path}/rows.jsonl", f"--model={tiny.checkpoint(tmp_path / 'model')}", "--unit_bytes=2000"]
    assert prepare.main([*made, f"--output={tmp_path}/out"]) == 0
    assert len(asked) > 1 and len(asked) == len(set(asked))
