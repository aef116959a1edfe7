"""What is shown of texts of anybody: every sign of it, and none that acts on who looks."""

import json
import unicodedata
from html.parser import HTMLParser

import pytest
import yaml

from pipelines import as_json
from pipelines.terminal import classify, compare, screen
from seqcls_beam import signs
from seqcls_beam.finetuning.card import card as model_card
from seqcls_beam.preparation.card import card as data_card
from seqcls_beam.reports.pages import Alert, Figure, Section
from seqcls_beam.reports.pages import Page as Whole
from seqcls_beam.reports.rendering import html

ACTING = [
    *("\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x1b[2J", "\x9b2J", "\x7f", "\x00", "\r", "\x85"),
    *(chr(code) for code in (0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *("\u2028", "\u2029", "\U000e0041", "\U000e0001", "\U000e0100", "\ufeff", "\xad", "\u3164", "\ud83d"),
]
MARKUP = ["<script>alert(1)</script>", "a`b", "a|b", "a\\|b", "a\nb", "[x](http://e)", "![](http://e/i.png)", "&lt;"]
NAMES = [*(f"a{each}b" for each in ACTING), *MARKUP, "*a*", "---", "é漢🙂", "``", " "]


def acts(text: str) -> list[str]:
    """Signs in a text that do not show, but for ends of lines."""
    kinds = ("Cc", "Cs", "Zl", "Zp", "Cf")
    odd = [sign for sign in text if unicodedata.category(sign) in kinds or 0xE0000 <= ord(sign) < 0xE1000]
    return [sign for sign in odd if sign != "\n"]


@pytest.mark.parametrize("sign", ACTING, ids=ascii)
def test_a_sign_that_acts_is_shown_as_python_writes_it(sign):
    assert signs.shown(f"a{sign}b") == f"a{ascii(sign)[1:-1]}b"
    assert signs.shown(signs.shown(sign)) == signs.shown(sign)


def test_texts_keep_what_joins_their_letters_and_names_show_it():
    assert signs.shown("می\u200cخواهم 👩\u200d🔬 東\u3000京 a\xa0b") == "می\u200cخواهم 👩\u200d🔬 東\u3000京 a\xa0b"
    assert signs.shown("a\u200db\u200c", name=True) == "a\\u200db\\u200c"
    assert signs.one_line(" a\n\tb\u2028c\x1b ") == "a b c\\x1b"


def test_json_on_a_screen_says_the_same(capsys):
    said = {"".join(ACTING[:-1]): [NAMES[:-4], 1.5]}
    said = json.loads(json.dumps(said).replace("\\ud83d", ""))
    as_json.write_json("-", said)
    printed = capsys.readouterr().out
    assert json.loads(printed) == said and acts(printed) == []


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_table_acts(name, capsys):
    table = screen.facts()
    table.add_row(name, screen.Text(name), screen.prose(name))
    table.add_column(name)
    for console in (screen.console(), screen.aside(), screen.news()):
        console.print(table)
        console.print(name)
    classify.probabilities([name], (name, "b"), [[0.5, 0.5]])
    said = capsys.readouterr()
    assert acts(said.out + said.err) == []
    assert signs.one_line(name) in said.out or len(name) < 2 or "\\" in name


def test_no_comparison_acts(capsys):
    run = {"name": "\x1b]0;x\x07", "rows": {"in": 1, "labeled": 1}, "rates": {}, "models": [], "engines": ["\x9b"]}
    label = {"label": "\u202eb", "reference": 0.5, "run": 0.5}
    told = {"reference": run, "runs": [{**run, "measures": [], "labels": [label]}]}
    compare.compared(told)
    out = capsys.readouterr().out
    assert acts(out) == [] and "\\u202eb" in out and "\\x1b]0;x\\x07" in out and "\\x9b" in out


def test_no_page_acts():
    row = {"score": "1", "text": "a\u200db\x1b", "place": "a\u200db"}
    groups = [{"name": name, "parts": [{"name": "least sure", "rows": [row]}]} for name in NAMES]
    alerts = tuple(Alert("kind", "act", name, name) for name in NAMES)
    named = tuple((name, name) for name in NAMES)
    section = Section("texts", NAMES[0], {"groups": groups}, NAMES[1])
    made = html(Whole("Labelling", NAMES[2], NAMES[3], (Figure(*NAMES[:2]),), alerts, (section,), named))
    assert made.count("a\u200db\\x1b") == made.count("a\\u200db<") == len(NAMES)
    assert acts(made.replace("a\u200db\\x1b", "")) == []


def prepared(names: list[str]) -> dict:
    """What the card of prepared data is made from."""
    split = {
        "rows": 2,
        "tokens": 9,
        "truncated_rows": 0,
        "length": {"p50": 3, "p99": 4, "max": 4},
        "label_counts": dict.fromkeys(names, 1),
    }
    return {
        "versions": {"seqcls_beam": "1"},
        "problem": "single_label",
        "labels": names,
        "label_form": f"names, such as {names[0]!r}",
        "labels_alike": [],
        "tokenizer": {"name": names[0], "max_length": 9, "digest": "0" * 32},
        "rows": {"in": 2, "kept": 2, "removed": 0, "rejected": 0, "lost": 0, "lost_weight": "counted"}
        | {key: {} for key in ("removed_by_reason", "rejected_by_reason", "lost_by_reason")},
        "splits": {"train": split, "test": split},
        "shares": None,
        "parts": [],
    }


def trained(names: list[str]) -> dict:
    """What the card of a model is made from."""
    return {
        "versions": {"seqcls_beam": "1", "torch": "2"},
        "problem": "single_label",
        "labels": names,
        "scores": {},
        "data": {"pairs": False, "max_length": 9, "rows": {"train": 2}, "digest": "0" * 32, "run_id": "0" * 32},
        "base": {"name": names[0], "digest": "0" * 32, "head": "new"},
        "recipe": {"model": names[0]},
        "label_weights": {names[0]: 1.5},
        "machine": {"device": names[0]},
        "seconds": 1.0,
        "resumed_at": 0,
    }


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "code"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("make", [(data_card, prepared), (model_card, trained)], ids=["data", "model"])
def test_a_card_shows_any_name_as_it_is(make, name):
    """Rendered by another's Markdown, with tables as GitHub has them."""
    markdown_it = pytest.importorskip("markdown_it")
    card, manifest = make
    made = card(manifest([name, "other"]))
    assert acts(made) == []
    _, front, body = made.split("---\n", 2)
    assert yaml.safe_load(front)
    page = Page(markdown_it.MarkdownIt("commonmark").enable("table").render(body))
    assert not page.tags & {"script", "a", "em", "img"} - ({"img"} if card is model_card else set())
    expected = signs.shown(name, name=True)
    assert any(each.strip() == expected.strip() for each in page.cells)


def test_a_console_has_no_markup():
    for console in (screen.console(), screen.aside(), screen.news()):
        assert str(console.render_str("[red]a[/red] :smile:")) == "[red]a[/red] :smile:"
