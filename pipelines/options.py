"""argv → options dataclasses and Beam's own options; refuses what neither knows.

The only place that knows argparse. Every flag is a field of `seqcls_beam.config`, with the same name.
"""

import argparse
import dataclasses
import logging
import os
import textwrap
import types
from collections.abc import Sequence
from typing import Any, NoReturn, get_args, get_origin

from pipelines import outcome, settings, voice
from pipelines.called import as_called
from pipelines.usage import UsageError, said_of_value, unknown_flag
from pipelines.wrapping import wrapped
from seqcls_beam import storage
from seqcls_beam.config.option import flag, option_fields
from seqcls_beam.config.screen import COMMON, FileOptions, ScreenOptions
from seqcls_beam.version import __version__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(said_of_value(message))


def parser(
    program: str, description: str, epilog: str, groups: dict[str, type], **instead: Any
) -> argparse.ArgumentParser:
    """A parser whose flags are the fields of the dataclasses in `groups`, each under its docstring.

    `instead` has other defaults of this command, by the field's name.
    """
    program = as_called(f"python -m {program}")
    outcome.of(program.removeprefix("python -m pipelines.").removeprefix("seqcls-beam "))
    groups = {**groups, **COMMON}
    fields = [each for group in groups.values() for each in option_fields(group)]
    defaults = {each: instead.get(each.name, each.default) for each in fields}
    needed = [each for each, default in defaults.items() if default is dataclasses.MISSING and _is_often(each)]
    made = _Parser(
        prog=program,
        usage=" ".join([program, *map(_usage, needed), "[options]"]),
        description=as_called(description),
        epilog=as_called(epilog),
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    many = len(defaults) > _FEW
    if many:
        section = made.add_argument_group("most used")
        for each in [*needed, *(each for each in defaults if each.metadata["often"] and each not in needed)]:
            _add(section, each, defaults[each], each in needed)
    for group in groups.values():
        title = (group.__doc__ or "").rstrip(".").lower()
        section = made.add_argument_group(title)
        for each in option_fields(group):
            if not (many and _is_often(each)):
                _add(section, each, defaults[each], each in needed)
    section.add_argument("-h", "--help", action="help", help="show this and end")
    section.add_argument("--version", action="version", version=f"seqcls_beam {__version__}", help="show it and end")
    return made


_FEW = 15
"""Options that are looked through without help."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help no line of which is wider than the terminal, or than 80 columns where there is none."""

    def start_section(self, heading: str | None) -> None:
        super().start_section("\n".join(textwrap.wrap(heading or "", self._width - 1)))

    def _format_usage(self, usage: str | None, *_: Any) -> str:
        lines = textwrap.wrap(f"usage: {usage}", self._width, subsequent_indent=" " * 7, break_on_hyphens=False)
        return "\n".join([*lines, "", ""])

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(wrapped(text, width))


def _is_often(each: dataclasses.Field[Any]) -> bool:
    return bool(each.metadata["often"] or each.metadata["positional"])


def _usage(each: dataclasses.Field[Any]) -> str:
    value = each.metadata["metavar"] or _METAVARS[str]
    return value if each.metadata["positional"] else f"--{flag(each)}={value}"


def parse(
    made: argparse.ArgumentParser, argv: Sequence[str], groups: dict[str, type]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The values given for each group (absent ones left out), and the words that are Beam's, for `beam_options`.

    Raises `UsageError` for an unknown flag or a value of the wrong kind. Only where there are words of Beam's it is
    asked, which takes seconds.
    """
    argv = _with_file(made, argv, groups, beam=True)
    parsed, rest = made.parse_known_args(_plain(argv, groups))
    words = _known_to_beam(rest, made) if rest else []
    return _settled(parsed, groups, words), words


def parse_alone(
    made: argparse.ArgumentParser, argv: Sequence[str], groups: dict[str, type]
) -> dict[str, dict[str, Any]]:
    """As `parse`, for a command that runs no pipeline and so takes none of Beam's options."""
    parsed, rest = made.parse_known_args(_plain(_with_file(made, argv, groups), groups))
    if rest:
        raise UsageError(unknown_flag(rest, _flags(made)))
    return _settled(parsed, groups)


def parse_beside(
    made: argparse.ArgumentParser, argv: Sequence[str], groups: dict[str, type], name: str
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """As `parse_alone`, for a command with words that are no options, which may stand between these: `name` of them."""
    parsed = made.parse_intermixed_args(_plain(_with_file(made, argv, groups), groups))
    return getattr(parsed, name), _settled(parsed, groups)


def parse_folder(
    command: str, description: str, epilog: str, argv: Sequence[str], groups: dict[str, type]
) -> dict[str, dict[str, Any]]:
    """As `parse_alone`, for a command whose first group, called as it is, begins with the folder it looks after.

    Raises `UsageError` where that is missing, too.
    """
    given = parse_alone(parser(f"pipelines.{command}", description, epilog, groups), argv, groups)
    if "output" not in given[command]:
        raise UsageError(f"which folder? python -m pipelines.{command} OUT")
    return given


def _plain(argv: Sequence[str], groups: dict[str, type]) -> list[str]:
    """argv with `--flag=true` and `--flag=false` as `--flag` and nothing: templates of Dataflow give each a value."""
    fields = [each for group in (groups | COMMON).values() for each in option_fields(group)]
    switches = {f"--{flag(each)}" for each in fields if each.type is bool}
    plain = []
    for word in argv:
        name, _, value = word.partition("=")
        if name not in switches or value.lower() not in ("true", "false"):
            plain.append(word)
        elif value.lower() == "true":
            plain.append(name)
    return plain


def _with_file(
    made: argparse.ArgumentParser, argv: Sequence[str], groups: dict[str, type], beam: bool = False
) -> list[str]:
    """argv behind the words of the file that its --config names, without those flags that stand in argv, too."""
    plain = _plain(argv, groups)
    parsed, _ = made.parse_known_args(plain)
    if parsed.config is None:
        return plain
    fields = [each for group in (groups | COMMON).values() for each in option_fields(group)]
    ours = {flag(each): each for each in fields if not each.metadata["positional"] and each.name not in _NO_KEYS}
    over = {word.partition("=")[0].removeprefix("--") for word in argv if word.startswith("--")}
    words: list[str] = []
    read = settings.read(parsed.config)
    known = _flags(made)
    if asked := beam and not read.keys() <= ours.keys():
        known |= _flags(_parser_of_beam())
    for key, value in read.items():
        if key in _NO_KEYS:
            raise UsageError(f"{settings.named(parsed.config)}: {key} stands on a command line alone")
        if f"--{key}" not in known:
            raise UsageError(
                f"{settings.named(parsed.config)}: {unknown_flag([f'--{key}'], known, _NOBODYS if asked else '')}"
            )
        found = settings.words(parsed.config, key, value, ours.get(key))
        if key not in ours and isinstance(value, settings.Value) and value.kind == "switch":
            found = _switched(parsed.config, key, value.text, known)
        if key not in over:
            words += found
    return [*words, *plain]


def _flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {word: action for action in parser._actions for word in action.option_strings}


_NOBODYS = ": neither this command nor Beam has it"


def _switched(file: str, key: str, text: str, known: dict[str, argparse.Action]) -> list[str]:
    """`true` or `false` of a file as words of one of Beam's flags, some of which are undone by another flag."""
    action = known[f"--{key}"]
    if action.nargs is None:
        return [f"--{key}={text}"]
    if text == "true":
        return [f"--{key}"]
    if f"--no_{key}" in known:
        return [f"--no_{key}"]
    if action.default not in (None, not action.const):
        raise UsageError(f"{settings.named(file)}: {key} is {text}, and Beam has no flag for that")
    return []


_NO_KEYS = ("config", "save_config", "help", "version")
"""Flags that stand on a command line alone."""


def _settled(
    parsed: argparse.Namespace, groups: dict[str, type], words: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """What is given of the groups, once the command speaks as it is told, and its options are kept if they are to be.

    Raises `OSError` where a file cannot be written.
    """
    common = _given(parsed, COMMON)
    ScreenOptions(**common["screen"])
    FileOptions(**common["files"])
    if parsed.json not in (None, "-"):
        from pipelines.as_json import ensure_json  # brings Arrow

        ensure_json(parsed.json)
    voice.speak(voice.Voice(**common["screen"], debug=bool(getattr(parsed, "debug", False))))
    if parsed.save_config is not None:
        given = {
            flag(each): getattr(parsed, each.name)
            for group in (groups | COMMON).values()
            for each in option_fields(group)
            if not each.metadata["positional"] and each.name not in _NO_KEYS
        }
        said = {name: value for name, value in given.items() if value is not None} | settings.of_words(words)
        for name in settings.write(parsed.save_config, outcome.command(), said.items()):
            file = storage.without_password(parsed.save_config)
            message = f"--{name} is left out of --save_config={file}: it holds a secret"
            outcome.warned(message)
            voice.utter(message, logging.WARNING)
    return _given(parsed, groups)


def _given(parsed: argparse.Namespace, groups: dict[str, type]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            each.name: tuple(value) if isinstance(value, list) else value
            for each in option_fields(group)
            if (value := getattr(parsed, each.name)) is not None
        }
        for name, group in groups.items()
    }


def _parser_of_beam() -> argparse.ArgumentParser:
    """What reads all flags that Beam has."""
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    import pipelines.flink_flags  # noqa: F401 - Beam finds them by their class

    class Strict(_BeamArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(said_of_value(message))

    known = Strict(allow_abbrev=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(known)
    return known


def _known_to_beam(rest: list[str], made: argparse.ArgumentParser) -> list[str]:
    """Words that Beam knows. Beam itself only warns of a flag it does not know, and goes on without it."""
    known = _parser_of_beam()
    read, unknown = known.parse_known_args(rest)
    if unknown and read.template_location and "SEQCLS_BEAM_COMMAND" in os.environ:
        # Called by the launcher of a template, which adds flags of its own, and checks those of its users itself.
        voice.utter(f"left out, since neither this command nor Beam has it: {' '.join(unknown)}", logging.WARNING)
        return [word for word in rest if word not in unknown]
    if unknown:
        raise UsageError(unknown_flag(unknown, _flags(made) | _flags(known), _NOBODYS))
    return rest


def _add(section: Any, each: dataclasses.Field[Any], shown: Any, needed: bool) -> None:
    facts = each.metadata
    text = as_called(facts["help"]).replace("%", "%%")
    if facts["minimum"] is not None and facts["maximum"] is not None:
        text += f"; {_number(facts['minimum'])} to {_number(facts['maximum'])}"
    if shown is not dataclasses.MISSING and not isinstance(shown, bool) and shown not in (None, ()):
        text += f" (default: {shown})"
    if needed:
        text += " (required)"
    if facts["positional"]:
        section.add_argument(each.name, nargs="?", default=None, help=text, metavar=facts["metavar"])
        return
    if each.type is bool:
        section.add_argument(f"--{flag(each)}", dest=each.name, action="store_true", default=None, help=text)
        return
    kind: Any = each.type
    if get_origin(kind) is types.UnionType:
        kind = next(arg for arg in get_args(kind) if arg is not type(None))
    how: dict[str, Any] = {"help": text, "default": None, "metavar": facts["metavar"]}
    if facts["choices"]:
        how["choices"] = facts["choices"]
        if len(listed := ", ".join(facts["choices"])) > _LONG:
            how |= {"metavar": "NAME", "help": f"{text}; one of {listed}"}
    if each.type == tuple[str, ...]:
        how |= {"action": "extend", "nargs": "+"}
    elif facts["bare"]:
        how |= {"nargs": "?", "const": facts["bare"]}
    elif get_origin(kind) is tuple:
        how["type"] = _names
    else:
        how["type"] = kind
        how["metavar"] = how["metavar"] or (None if facts["choices"] else _METAVARS[kind])
    section.add_argument(f"--{flag(each)}", dest=each.name, **how)


_LONG = 48
"""Signs of choices that are listed in the help, where lines are wrapped."""
_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "NAME"}


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",")) if value.strip() else ()
