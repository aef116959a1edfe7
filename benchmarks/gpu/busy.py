"""How busy the card is while something else runs on it, as the driver's own tool tells it."""

import os
import shutil
import statistics
import subprocess
import threading
from types import TracebackType
from typing import Self

from benchmarks.gpu.bench import Result

EVERY = 200  # milliseconds between two samples
_FIELDS = ("utilization.gpu", "power.draw", "clocks.sm")


class Busy:
    """Samples the card that is used as long as its block runs; without `nvidia-smi` there are none."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []  # percent of the time, watts, MHz
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        if shutil.which("nvidia-smi"):
            card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
            command = ["nvidia-smi", "-i", card, f"--query-gpu={','.join(_FIELDS)}", f"-lms={EVERY}"]
            command.append("--format=csv,noheader,nounits")
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._thread.join()
            assert self._process.stdout
            self._process.stdout.close()

    def result(self) -> Result:
        """Shares of the time: from the first sample to the last that found the card busy, and of the middle of that.

        The middle are three fifths: loading and the last, smaller batches lie outside.
        """
        busy = [i for i, sample in enumerate(self.samples) if sample[0] > 0]
        if not busy:
            return {"samples": len(self.samples)}
        span = self.samples[busy[0] : busy[-1] + 1]
        fifth = len(span) // 5
        middle = span[fifth : len(span) - fifth]
        return {
            "samples": len(self.samples),
            "busy": round(statistics.fmean(each[0] for each in span) / 100, 3),
            "busy_in_the_middle": round(statistics.fmean(each[0] for each in middle) / 100, 3),
            "watts": round(statistics.fmean(each[1] for each in middle)),
            "MHz": round(statistics.fmean(each[2] for each in middle)),
            "percent": [round(each[0]) for each in self.samples],
        }

    def _read(self) -> None:
        assert self._process and self._process.stdout
        for line in self._process.stdout:
            try:
                percent, watts, clock = map(float, line.split(","))
            except ValueError:  # [N/A]: the card does not tell
                continue
            self.samples.append((percent, watts, clock))
