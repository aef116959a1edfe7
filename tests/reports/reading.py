"""A page as its readers find it: words and numbers out of HTML, by Python's own parser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    """One element, with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        words = (each if isinstance(each, str) else f"{each.text} " for each in self.children)
        return " ".join("".join(words).split())

    def all(self, tag: str, style: str | None = None) -> list["Element"]:
        """Elements of a kind below this one, in order; with `style` those of that class."""
        found = []
        for each in self.children:
            if not isinstance(each, str):
                if each.tag == tag and (style is None or style in each.attributes.get("class", "").split()):
                    found.append(each)
                found += each.all(tag, style)
        return found

    def section(self, title: str) -> "Element":
        """The card with a heading."""
        (found,) = [each for each in self.all("section", "card") if each.all("h2")[0].text == title]
        return found

    def table(self) -> dict[str, list[str]]:
        """The rows of the first table, cells by what their row is called."""
        body = self.all("tbody")[0]
        rows = body.all("tr")
        return {
            _name(row): [cell.text for cell in row.all("td") if cell.attributes.get("class") != "bar"] for row in rows
        }

    def headline(self) -> dict[str, str]:
        """The numbers at the top, by name, without what is said beneath."""
        (found,) = self.all("dl", "headline")
        return {each.all("dt")[0].text: str(each.all("dd")[0].children[0]).strip() for each in found.all("div")}

    def alerts(self) -> dict[str, str]:
        """Severity by kind of alert, in order."""
        (found,) = self.all("section", "alerts")
        return {each.attributes["data-kind"]: each.attributes["class"] for each in found.all("li")}


def _name(row: Element) -> str:
    (head,) = row.all("th")
    return " ".join(
        each.strip() if isinstance(each, str) else each.text if each.tag == "a" else "" for each in head.children
    ).strip()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(page: str) -> Element:
    """The whole of a page; every element in it is closed."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert len(parser.open) == 1, f"<{parser.open[-1].tag}> is not closed"
    return parser.open[0]
