"""Write docs/images anew: a terminal and a report, as they are.

python docs/screenshots.py          needs Chromium (--chromium=PATH, default /usr/bin/chromium)
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS = 118
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {background}; color: {foreground} }}
pre {{ margin: 14px 18px; font: 13px/15px "DejaVu Sans Mono", monospace }}
{stylesheet}</style><pre>{code}</pre>"""


def printed(words: list[str], folder: Path) -> str:
    """What a command prints on a terminal of COLUMNS columns; what it tells on the way, on another, is left out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    env.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=env, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        read = b""
        while True:
            try:
                block = os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other side is closed
                break
            read += block
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with code {process.returncode}")
    return read.decode().replace("\r\n", "\n").replace(str(folder), "…")


def as_page(shown: str) -> tuple[str, int]:
    """What was printed → a page of HTML, and how many lines it has."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115 - as long as the process
    for line in shown.splitlines():
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_html(theme=MONOKAI, code_format=PAGE, inline_styles=False), len(shown.splitlines())


def shoot(chromium: str, page: Path, image: Path, width: int, height: int) -> None:
    """Take a picture of a page in Chromium."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--screenshot={image}",
        ]
        size = [f"--window-size={width},{height}", f"--user-data-dir={profile}", page.as_uri()]
        subprocess.run([*command, *size], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Run the demo, and take both pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    chromium = parser.parse_args().chromium
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        shown = printed(["pipelines.classify"], folder)
        shown = re.sub(r"[ ]+$", "", shown, flags=re.MULTILINE)
        page, lines = as_page(f"\x1b[1m$ make demo\x1b[0m\n{shown}")
        (folder / "terminal.html").write_text(page)
        shoot(chromium, folder / "terminal.html", IMAGES / "demo.png", 8 * COLUMNS + 36, 15 * lines + 44)
        shoot(chromium, folder / "demo-output/_report/report.html", IMAGES / "report.png", 1200, 1000)


if __name__ == "__main__":
    main()
