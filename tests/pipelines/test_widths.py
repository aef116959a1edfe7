"""First rows on narrow and wide screens: the text can be read, whatever else is kept beside it."""

import io

import pyarrow as pa
import pytest

from pipelines.terminal import classify, screen

TEXT = "The support team answered on a Sunday and sent a replacement before I had even asked for one, twice in a row."
ROWS = pa.table(
    {
        "id": ["r000"],
        "review": [TEXT],
        "author": ["a name that is quite long, and longer"],
        "stars": [4],
        "shop": ["books"],
        "label": ["positive"],
        "score": pa.array([0.961], pa.float32()),
        "scores": pa.array([[0.039, 0.961]], pa.list_(pa.float32())),
        "model": ["04f2a588f213"],
        "tokens": [24],
        "truncated": [False],
    }
)


def shown(width: int, rows: pa.Table = ROWS, terminal: bool = True) -> list[str]:
    file = io.StringIO()
    made = screen._Safe(file=file, width=width, force_terminal=terminal, color_system=None)
    classify._show_rows(made, rows, ["review", None])
    return [line for line in file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("width", "read"), [(60, 24), (80, 32), (120, 32), (160, 48)])
def test_texts_stay_readable_beside_kept_columns(width, read, terminal):
    lines = shown(width, terminal=terminal)
    told = [line for line in lines if line.startswith("not shown")]
    assert max(len(line) for line in lines if line not in told) <= width
    (row,) = [line for line in lines if TEXT[:read] in line]
    assert "positive" in row and "0.961" in row
    named = set(told[0].partition(": ")[2].split(", ")) if told else set()
    head = set(lines[1 if terminal else 0].replace("┃", " ").split())
    assert head | named == set(ROWS.column_names) - {"tokens", "truncated"} and not head & named
    assert (width == 160) == (not named)


def test_one_column_takes_the_room_there_is():
    (row,) = [line for line in shown(120, ROWS.select(["review", "label"])) if "positive" in line]
    assert TEXT[:78] in row and len(row) <= 120


def test_a_pipe_has_neither_lines_nor_blanks_at_an_end(capsys):
    classify._show_rows(screen.console(), ROWS, ["review", None])
    out = capsys.readouterr().out
    assert out.startswith("id    review") and not any(sign in out for sign in "┃│━─") and " \n" not in out
