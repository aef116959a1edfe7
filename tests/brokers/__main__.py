"""A Pub/Sub service to try a stream with: the tests' broker, and the lines of a file as messages.

python -m tests.brokers FILE [--port=8085]    comes back when the messages wait; prints the service's process id

The service goes on until it is killed; the subscription is called after the file.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.broker import Broker, answering, built


def main() -> int:
    """Start the service, publish, leave it alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.brokers")
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=8085)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        address = Path(folder, "address")
        # Whoever reads what we print waits until nobody can print any more, the service neither.
        process = subprocess.Popen(
            [built(), f"-port={given.port}", f"-address-file={address}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            broker = Broker(process, answering(process, address))
            (subscription,) = broker.topic(given.file.stem, given.file.stem)
            lines = given.file.read_bytes().splitlines()
            broker.publish(given.file.stem, [(line, {}) for line in lines])
        except BaseException as error:
            process.kill()
            if isinstance(error, RuntimeError | OSError):
                print(f"{given.file}: {error} (port {given.port})", file=sys.stderr)
                return 1
            raise
    told = f"{len(lines):,} messages wait in {subscription}: PUBSUB_EMULATOR_HOST={broker.address}"
    print(told, file=sys.stderr)
    print(process.pid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
