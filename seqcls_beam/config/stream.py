"""Options of `python -m pipelines.classify --subscription=…`: messages as they arrive, instead of files."""

import re
from dataclasses import dataclass, field

from seqcls_beam.config.announce import PlatformOptions
from seqcls_beam.config.classify import ModelOptions, ReadOptions, RunOptions
from seqcls_beam.config.option import check, option

_SUBSCRIPTION = re.compile(r"projects/[^/\s]+/subscriptions/[A-Za-z][\w.~+%-]{2,254}")
_TOPIC = re.compile(r"projects/[^/\s]+/topics/[A-Za-z][\w.~+%-]{2,254}")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """A stream: messages of Pub/Sub."""

    subscription: str = option(
        "subscription whose messages are labelled as they arrive, projects/PROJECT/subscriptions/NAME",
        metavar="PATH",
    )
    message_format: str = option(
        "what a message's payload is: a JSON object with the columns, or the text itself",
        default="json",
        choices=("json", "text"),
    )
    attributes: tuple[str, ...] | None = option(
        "attributes of the messages that pass through to the output, as strings, comma-separated (default: none)",
        default=None,
        metavar="NAMES",
    )
    timestamp_attribute: str | None = option(
        "attribute with the time of the event, RFC 3339 or milliseconds since 1970 (default: when it was published)",
        default=None,
    )
    id_attribute: str | None = option(
        "attribute that repeated publishings of one message share (default: the message's id)", default=None
    )
    pullers: int = option(
        "sources that pull, which a runner may spread over its workers; this machine takes them in turn",
        default=1,
        minimum=1,
        maximum=256,
    )
    max_latency: float = option(
        "seconds that a message may take from its arrival to a durable row: half of them at most it waits for others, "
        "half are the model's",
        default=5.0,
        minimum=0.1,
        maximum=300,
    )
    max_outstanding: int = option(
        "messages that are held at once: pulled, and not yet acknowledged", default=20_000, minimum=1, maximum=200_000
    )

    def __post_init__(self) -> None:
        check(self)
        if not _SUBSCRIPTION.fullmatch(self.subscription):
            raise ValueError(
                f"--subscription={self.subscription}: expected projects/PROJECT/subscriptions/NAME, as "
                "`gcloud pubsub subscriptions list` shows it"
            )
        names = self.attributes or ()
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"--attributes names {twice[0]} twice")


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """The windows of a stream."""

    window: int = option(
        "seconds of event time in a window, which becomes a partition; this machine publishes it when it is over, for "
        "other runners pipelines.seal does",
        default=300,
        minimum=1,
        maximum=86_400,
    )
    allowed_lateness: int = option(
        "seconds that event time passes the end of a window by before it is over (on this machine); what comes later "
        "amends it",
        default=600,
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class TopicOptions:
    """Topics of Pub/Sub that a stream tells what became of its messages."""

    output_topic: str | None = option(
        "topic that gets every labelled row as JSON, at least once, projects/PROJECT/topics/NAME (default: none)",
        default=None,
        metavar="PATH",
    )
    dead_letter_topic: str | None = option(
        "topic that gets every rejected message as it came, at least once, with the reason in its attributes "
        "(default: none)",
        default=None,
        metavar="PATH",
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("output_topic", "dead_letter_topic"):
            topic = getattr(self, name)
            if topic is not None and not _TOPIC.fullmatch(topic):
                raise ValueError(
                    f"--{name}={topic}: expected projects/PROJECT/topics/NAME, as `gcloud pubsub topics list` shows it"
                )
        if self.output_topic is not None and self.output_topic == self.dead_letter_topic:
            raise ValueError(
                f"--output_topic and --dead_letter_topic are both {self.output_topic}: who reads it could not tell "
                "a row from a message that was rejected; name two topics"
            )

    @property
    def named(self) -> dict[str, str]:
        """Flag → topic, of those that were named."""
        each = {"output_topic": self.output_topic, "dead_letter_topic": self.dead_letter_topic}
        return {name: topic for name, topic in each.items() if topic is not None}


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """A new model while a stream runs."""

    watch_model: str | None = option(
        "in place of --model, a folder or URI of a checkpoint, or of one that its file LATEST names: what is new there "
        "is taken while the stream runs, if it has the same labels and answers what is at hand",
        default=None,
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class EndOptions:
    """When a stream ends by itself (on this machine)."""

    seconds: float | None = option("end after so many seconds", default=None, minimum=0, metavar="SECONDS", flag="for")
    until_idle: float | None = option(
        "end when no message came for so many seconds", default=None, minimum=0, metavar="SECONDS"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Options of a stream that is labelled."""

    read: ReadOptions
    model: ModelOptions
    source: SourceOptions
    windows: WindowOptions
    end: EndOptions
    run: RunOptions
    topics: TopicOptions = TopicOptions()
    watch: WatchOptions = WatchOptions()
    platforms: PlatformOptions = field(default_factory=PlatformOptions)


GROUPS: dict[str, type] = {
    "source": SourceOptions,
    "windows": WindowOptions,
    "end": EndOptions,
    "topics": TopicOptions,
    "watch": WatchOptions,
}
"""What of the options is of a stream alone."""
