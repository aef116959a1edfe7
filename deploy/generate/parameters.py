"""Options → parameters: what a template of Dataflow, or a module of Terraform, may be given."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any

from deploy.generate import patterns
from seqcls_beam.config.option import flag, kind_of, option_fields

BUCKET = r"gs://[a-z0-9][a-z0-9._-]*[a-z0-9](/[\s\S]*)?"
BUCKETS = r"(gs|s3)://[\s\S]+"
REMOTE = r"(gs|s3|https?)://[\s\S]+"
_PUBSUB = r"projects/[^/\s]+/{}/[A-Za-z][A-Za-z0-9_.~+%-]{{2,254}}"
_TOPIC = _PUBSUB.format("topics")
_CLEANING = ("encoding", "html", "control", "whitespace")
_KEYS = ("nfkc", "casefold", "whitespace", "punctuation")

SHAPES: dict[str, str] = {
    # Workers see no disk of whoever launches them.
    **dict.fromkeys(("input", "input_train", "input_validation", "input_test", "decontaminate"), REMOTE),
    "watch_model": BUCKETS,  # a web server does not tell what has changed
    "output": BUCKET,
    "subscription": _PUBSUB.format("subscriptions"),
    "output_topic": _TOPIC,
    "dead_letter_topic": _TOPIC,
    "device": "auto|cpu|cuda|cuda:[0-9]+",
    "run_date": "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    "delimiter": r'\\t|[^\r\n"]',
    "quote": r"[ -+\--~]?",  # of ASCII what is seen, but the comma
    "clean": patterns.listed("|".join(_CLEANING), may_be_empty=True),
    "duplicate_key": patterns.listed("|".join(_KEYS), may_be_empty=True),
    # What has a brace or = is labels of the job, which the launcher gives under the same name.
    "labels": patterns.listed(r"\s*[^,\s{=][^,{=]*"),
}
"""What the values of an option look like, where its class checks it by itself, or a job elsewhere takes less."""

TYPES = {
    "output": "GCS_WRITE_FOLDER",
    "subscription": "PUBSUB_SUBSCRIPTION",
    "output_topic": "PUBSUB_TOPIC",
    "dead_letter_topic": "PUBSUB_TOPIC",
}
"""What Google's console offers to choose from, by option. An input may be a pattern with a date, which is no file."""

_ONE = "Here it is one pattern: *, ** and ? find several files."
NOTES: dict[str, str] = {
    **dict.fromkeys(("input", "exclude", "input_train", "input_validation", "input_test", "decontaminate"), _ONE),
    "run_date": "Here it is one date, since a launch is one job.",
    "model": "A folder of the image, such as /opt/model, is one, too.",
    "labels": "Here no name has { or =.",
}
"""What holds of an option where it is a parameter."""

HELPS: dict[str, str] = {
    "input": "files to read: a path or pattern of gs://, s3:// or https://; a folder means the files in it",
    "exclude": "files that --input finds and that are no input: patterns of names, or of paths below what it names",
    "output": "folder in a bucket to publish into, gs://BUCKET/FOLDER",
    "gpu": "accelerator that each worker has one of: sets machine, driver, disk, one process of two threads, and "
    "--device=cuda; what is given by an option of its own stays",
}
"""What is said of a parameter in place of the option's help, where that speaks of a command line or of a disk."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An option, as whoever has no command line sees it; every value is text."""

    name: str
    kind: str
    """text, switch, number (whole), decimal, or names: several, separated by commas"""
    help: str
    note: str
    group: str
    required: bool
    default: str | None
    choices: tuple[str, ...]
    low: str | None
    high: str | None
    pattern: str

    @property
    def sentences(self) -> str:
        """Its help, with what holds of it as a parameter, and of a number the range."""
        span = self.expected if self.low is not None else ""
        said = filter(None, [self.help, span, self.note.removesuffix(".")])
        return " ".join(f"{each[0].upper()}{each[1:]}." for each in said)

    @property
    def expected(self) -> str:
        """Which values are right, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind in ("number", "decimal"):
            what = "a whole number" if self.kind == "number" else "a number"
            if self.low is None:
                return what
            return f"{what} from {self.low} to {self.high}" if self.high else f"{what}, {self.low} at least"
        if self.pattern == patterns.anchored(patterns.ANYTHING):
            return "a text that is not empty"
        plain = {"switch": "true or false", "names": "names, none of them empty"}
        return plain.get(self.kind, f"a text of the form {self.pattern}")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a command's options are parameters, and which of them otherwise than on the command line."""

    left_out: dict[str, str]
    """Option → why it is none."""
    shapes: dict[str, str] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    """Option → what is said of it in place of its help."""
    undefaulted: tuple[str, ...] = ()
    """Those whose default is not told: who is told one may send it, and then it was chosen."""
    optional: tuple[str, ...] = ()


def parameters(groups: dict[str, type], defaults: dict[str, Any], choice: Choice) -> Iterator[Parameter]:
    """The parameters that a choice makes of a command's options, in the order of `--help`.

    `defaults` are those of the command, where it has others. Raises `ValueError` for an option without a range whose
    values are numbers, since these may be negative.
    """
    for group in groups.values():
        title = (group.__doc__ or "").rstrip(".")
        for each in option_fields(group):
            if flag(each) not in choice.left_out:
                yield _parameter(each, title, defaults, choice)


def defaults_of(command: ModuleType) -> dict[str, Any]:
    """What a command, by its module, has other defaults for than the classes of its options."""
    return {"unit_bytes": command.UNIT_BYTES} if hasattr(command, "UNIT_BYTES") else {}


def plain(number: float | None) -> str | None:
    """A number without an exponent, and without a point that says nothing."""
    if number is None:
        return None
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _parameter(each: Field[Any], group: str, defaults: dict[str, Any], choice: Choice) -> Parameter:
    name, kind, facts = flag(each), kind_of(each).replace("texts", "text"), each.metadata
    default = defaults.get(name, each.default)
    choices = choice.choices.get(name, facts["choices"])
    low, high = plain(facts["minimum"]), plain(facts["maximum"])
    pattern = choice.shapes.get(name) or SHAPES.get(name)
    untold = default is MISSING or default in (None, ()) or name in choice.undefaulted
    return Parameter(
        name=name,
        kind=kind,
        help=choice.helps.get(name) or HELPS.get(name) or facts["help"],
        note=NOTES.get(name, ""),
        group=group,
        required=default is MISSING and name not in choice.optional,
        default=None if untold else _text(default),
        choices=choices,
        low=low,
        high=high,
        pattern=patterns.anchored(pattern or _pattern(name, kind, choices, (low, high), facts["may_be_empty"])),
    )


def _pattern(
    name: str, kind: str, choices: tuple[str, ...], span: tuple[str | None, str | None], may_be_empty: bool
) -> str:
    low, high = span
    if choices:
        return patterns.one_of(choices)
    if kind in ("number", "decimal"):
        if low is None or low.startswith("-"):
            raise ValueError(f"--{name} may be negative: its range needs a minimum of 0 or more")
        if kind == "decimal":
            return patterns.decimal(low, high)
        return patterns.whole(int(low), None if high is None else int(high))
    if kind == "names":
        return patterns.listed(may_be_empty=may_be_empty)
    return {"switch": patterns.SWITCH}.get(kind, patterns.ANYTHING)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (plain(value) or "") if isinstance(value, int | float) else str(value)
