"""What a person sees of windows that are sealed."""

from collections.abc import Iterable, Iterator, Sequence

from pipelines.terminal import live, screen
from pipelines.terminal.screen import Text
from seqcls_beam.runs.sealing import Sealed


def watching(sealed: Iterable[Sealed], total: int) -> Iterator[Sealed]:
    """Hand on windows, and show how far sealing is."""
    return live.counted(sealed, total, "windows done:")


def told(sealed: Sealed) -> None:
    """Print a line on a window."""
    screen.console().print(Text(f"{sealed.window}  {_what(sealed)}"), soft_wrap=True)


def summed(done: Sequence[Sealed]) -> None:
    """Print what became of all windows."""
    made = [each for each in done if each.version is not None]
    amended = sum(each.amended > 0 for each in made)
    failed = sum(each.fault is not None for each in done)
    counts = [f"{_windows(len(made))} sealed", *([f"{amended:,} of them amended"] if amended else [])]
    counts += [f"{_windows(failed)} not sealed"] if failed else []
    sums = Sealed(
        "",
        labeled=sum(each.labeled for each in done),
        rejected=sum(each.rejected for each in done),
        duplicates=sum(each.duplicates for each in done),
    )
    screen.console().print(Text(f"{', '.join(counts)}: {_rows(sums)}"), soft_wrap=True)


def _what(sealed: Sealed) -> str:
    if sealed.fault is not None:
        return "not sealed"
    if sealed.version is None:
        return f"nothing new: {_rows(sealed)}"
    return f"{'amended' if sealed.amended else 'sealed'}: {_rows(sealed)}, version {sealed.version}"


def _rows(sealed: Sealed) -> str:
    said = [f"{sealed.labeled:,} labelled"]
    said += [f"{sealed.rejected:,} rejected"] if sealed.rejected else []
    said += [f"{sealed.duplicates:,} duplicate{'s'[: sealed.duplicates != 1]} dropped"] if sealed.duplicates else []
    return ", ".join(said)


def _windows(count: int) -> str:
    return f"{count:,} window{'s'[: count != 1]}"
