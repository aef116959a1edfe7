"""What is worth saying of an input before it is read."""

from seqcls_beam.config import ReadOptions
from seqcls_beam.reading.files import Listing
from seqcls_beam.reading.formats.pieces import Piece
from seqcls_beam.reading.formats.text import hint

_NAMED = 3


def remarks(listing: Listing, options: ReadOptions) -> tuple[str, ...]:
    """A sentence each: what was skipped and excluded, what `--exclude` did not find, how text files are read."""
    said = []
    if listing.skipped:
        said.append(f"{len(listing.skipped):,} skipped, known to be no data: {_some(listing.skipped)}")
    if listing.repeated:
        said.append(f"{len(listing.repeated):,} skipped, read under another name: {_some(listing.repeated)}")
    if listing.excluded:
        said.append(f"{_files(listing.excluded)} left out by --exclude")
    if listing.unused:
        said.append(f"--exclude={_some(listing.unused)} leaves out nothing")
    told = hint([Piece(**row) for row in listing.files.slice(0, 1000).to_pylist()], options)
    return (*said, told) if told else tuple(said)


def _files(count: int) -> str:
    return f"{count:,} file{'s'[: count != 1]}"


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
