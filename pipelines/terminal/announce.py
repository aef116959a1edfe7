"""What a person sees of platforms that were told."""

from collections.abc import Sequence

from pipelines.terminal import screen
from pipelines.terminal.screen import Text


def told(partition: str, version: int, names: Sequence[str]) -> None:
    """Print a line on a version."""
    if names:
        screen.console().print(Text(f"{partition}  version {version}: {', '.join(names)}"), soft_wrap=True)
