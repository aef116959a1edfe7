"""What a person sees of a page that was written."""

from pathlib import Path

from pipelines.terminal import screen
from pipelines.terminal.screen import Text
from seqcls_beam import storage


def written(place: str) -> str:
    """Print where the page is, of this machine as a link that a terminal opens, and return that."""
    facts = screen.facts("fold")
    link = Path(storage.local_path(place)).as_uri() if storage.is_local(place) else storage.without_password(place)
    facts.add_row("report", Text(link))
    screen.console().print(facts)
    return link
