"""Cases, one after the other, in a process with limited memory and, for each case, limited time.

python -m tests.reading.fuzz.child JOB LOG

JOB is a JSON file: `law`, `bases`, `cases` as [number of a base, offset, value], and the first `case` to be run. LOG
gets a line of JSON before each stage of a case and one behind it, so that a case that ends the process is known.
"""

import json
import re
import resource
import signal
import sys
import traceback
from pathlib import Path

from tests.reading.fuzz import laws
from tests.reading.fuzz.corpus import Base
from tests.reading.fuzz.mutations import mutated

MEMORY = 3 * 2**30  # bytes of address space; the libraries alone take a ninth of it
SECONDS = {signal.ITIMER_PROF: 20.0, signal.ITIMER_REAL: 200.0}  # of work, and in all; a case takes milliseconds


def main(job: str, log: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    given = json.loads(Path(job).read_text())
    bases = [Base(**base) for base in given["bases"]]
    law = getattr(laws, given["law"])
    whole = {base.path: Path(base.path).read_bytes() for base in bases}
    with open(log, "a", buffering=1) as out:

        def tell(**what: object) -> None:
            out.write(json.dumps(what) + "\n")

        for case in range(given["case"], len(given["cases"])):
            number, offset, value = given["cases"][case]
            base = bases[number]
            path = Path(log).with_name(f"damaged{''.join(Path(base.path).suffixes)}")
            path.write_bytes(mutated(whole[base.path], (offset, value)))
            # Nobody catches the alarms: they end the process, whatever native code that is in.
            for timer, seconds in SECONDS.items():
                signal.setitimer(timer, seconds)
            try:
                verdict = law(base, path, lambda stage, case=case: tell(case=case, stage=stage))
            except laws.Fault as fault:
                verdict = f"fault: {fault}"
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                verdict = f"fault: {type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"
            for timer in SECONDS:
                signal.setitimer(timer, 0)
            tell(case=case, verdict=verdict[:500])
        # Not `ru_maxrss`, which a process has from the one that started it.
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert peak
        tell(peak=int(peak[1]) * 1024, torch="torch" in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
