"""A page → HTML that needs nothing beside it: no script, no request, one style.

Every word that is not of a template goes through `_shown`: no password, no sign that acts, no end, and then jinja2's
own escaping.
"""

import unicodedata
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from seqcls_beam import storage
from seqcls_beam.reports.pages import Page, brief
from seqcls_beam.signs import shown
from seqcls_beam.version import __version__

MOST_BYTES = 1_000_000
"""No page is larger; each of its parts is bounded, whatever the size of the run."""

_MARKS = 5  # in a row
_LINES = 8
_LONGEST = 600  # signs of a name or a sentence
_PROSE = 280  # signs of a text of somebody's


def html(page: Page) -> str:
    """The whole document."""
    return _environment().get_template("page.html.j2").render(page=page, version=__version__)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("seqcls_beam.reports"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["brief"] = brief
    made.filters["prose"] = _prose
    made.filters["number"] = _number
    made.filters["points"] = _points
    return made


def _shown(value: Any) -> Any:
    """What an expression of a template says; what is HTML already stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _even(shown(storage.without_password(_cut(value, _LONGEST)), name=True))
    return value


def _prose(text: str) -> Markup:
    """A text of somebody's, in which letters may be joined and lines end, a few of them, and none is empty."""
    lines = [line for line in _cut(text, _PROSE).split("\n") if line.strip()]
    told = "\n".join([*lines[:_LINES], *(["…"] * (len(lines) > _LINES))])
    return Markup(escape(_even(shown(told, keep="\n\t"))))


def _number(value: float) -> Markup:
    """A coordinate, in few digits."""
    return Markup(f"{value:.2f}".rstrip("0").rstrip("."))


def _points(points: str) -> Markup:
    """Coordinates of a line, all of them."""
    return escape(points)


def _even(text: str) -> str:
    """A text in which no letter bears so many marks that they stand in the lines above."""
    if text.isascii():
        return text
    made: list[str] = []
    for mark, run in groupby(text, lambda sign: unicodedata.combining(sign) > 0):
        signs = "".join(run)
        made.append(f"{signs[:_MARKS]}…" if mark and len(signs) > _MARKS else signs)
    return "".join(made)


def _cut(text: str, most: int) -> str:
    """A long text's two ends."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"
