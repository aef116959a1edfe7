"""What one would write without this project's source, a program each.

They take --subscription, --output and --model, and write their rows where the command has its pieces, so that what is
durable, and when, is seen in the same way.
"""

PEERS = {
    "beam": "benchmarks.stream.peers.beam",
    "plain": "benchmarks.stream.peers.plain",
}
"""Name → module."""
