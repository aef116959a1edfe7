"""A Pub/Sub service to try a stream with: the tests' broker, and the lines of a file as messages.

python -m tests.brokers FILE    on port 8085, until it is told to end; the subscription is called after the file
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.broker import Broker, built

PORT = 8085


def main(path: Path) -> int:
    """Start the service, publish, wait."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the service ends with us
    with subprocess.Popen([built(), f"-port={PORT}"], stdout=subprocess.DEVNULL) as process:
        try:
            broker = Broker(process, f"127.0.0.1:{PORT}")
            (subscription,) = broker.topic(path.stem, path.stem)
            lines = path.read_bytes().splitlines()
            broker.publish(path.stem, [(line, {}) for line in lines])
            print(f"{len(lines):,} messages wait in {subscription}: PUBSUB_EMULATOR_HOST={broker.address}", flush=True)
            while process.poll() is None:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
        finally:
            process.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
