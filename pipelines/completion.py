"""Scripts by which a shell completes commands and flags of `seqcls-beam`: all is in them, so a shell asks no Python."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass
from importlib import import_module
from typing import Any

from pipelines.called import SCRIPT, as_called
from seqcls_beam.config.option import flag, kind_of, option_fields
from seqcls_beam.config.screen import COMMON

_OF_BEAM = {
    "runner": ("DirectRunner", "PrismRunner", "FlinkRunner", "DataflowRunner"),
    "direct_running_mode": ("in_memory", "multi_threading", "multi_processing"),
    "direct_num_workers": (),
    **dict.fromkeys(("flink_master", "project", "region", "temp_location"), ()),
}
"""Flags of Beam that are completed, too, where a command has a runner."""


@dataclass(frozen=True)
class _Flag:
    name: str
    about: str
    values: Sequence[str] = ()
    takes: bool = True  # a value

    @property
    def word(self) -> str:
        return f"--{self.name}=" if self.takes else f"--{self.name}"


def script(shell: str, commands: Sequence[str]) -> str:
    """The script of a shell, for commands by name. Raises `KeyError` for a shell that has none."""
    return SHELLS[shell]({name: (_about(name), list(_flags(name))) for name in commands})


def _about(command: str) -> str:
    said = (import_module(f"pipelines.{command}").__doc__ or "").strip().partition("\n")[0]
    return as_called(said)


def _flags(command: str) -> Iterator[_Flag]:
    groups = import_module(f"pipelines.{command}").GROUPS
    for group in (groups | COMMON).values():
        for each in option_fields(group):
            if not each.metadata["positional"]:
                yield _flag(each)
    yield _Flag("help", "show what the options are", takes=False)
    yield _Flag("version", "show it", takes=False)
    if "step" in groups:
        yield from (_Flag(name, "an option of Beam", values) for name, values in _OF_BEAM.items())


def _flag(each: Field[Any]) -> _Flag:
    about = re.split(r"[:;(]", as_called(each.metadata["help"]))[0].strip()
    takes = kind_of(each) != "switch" and not each.metadata["bare"]
    return _Flag(flag(each), about, each.metadata["choices"], takes)


Told = dict[str, tuple[str, list[_Flag]]]


def _bash(told: Told) -> str:
    flags = [f'        {name}) flags="{" ".join(each.word for each in of)}" ;;' for name, (_, of) in told.items()]
    values = [
        f'        {name}:--{each.name}) values="{" ".join(each.values)}" ;;'
        for name, (_, of) in told.items()
        for each in of
        if each.values
    ]
    return "\n".join(
        [
            "_seqcls_beam() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} prev=${COMP_WORDS[COMP_CWORD-1]}",
            "    local flag=$prev flags='' values='' name",
            "    COMPREPLY=()",
            '    if [ "$COMP_CWORD" -eq 1 ]; then',
            f'        COMPREPLY=($(compgen -W "{" ".join(told)} --help --version" -- "$cur")); return',
            "    fi",
            "    # Bash makes words of --flag, = and its value.",
            '    if [ "$cur" = = ]; then cur=""; elif [ "$prev" = = ]; then flag=${COMP_WORDS[COMP_CWORD-2]}; fi',
            '    case "$command" in',
            *flags,
            "    esac",
            '    case "$command:$flag" in',
            *values,
            "    esac",
            '    if [ -n "$values" ]; then',
            '        COMPREPLY=($(compgen -W "$values" -- "$cur"))',
            '    elif [[ "$cur" == -* ]]; then',
            '        COMPREPLY=($(compgen -W "$flags" -- "$cur"))',
            '        [[ "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null',
            "    else",
            "        # A name a line: what is split at blanks would be matched with files again.",
            '        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$cur")',
            "        compopt -o filenames 2>/dev/null",
            "    fi",
            "    return 0",
            "}",
            f"complete -F _seqcls_beam {SCRIPT}",
            "",
        ]
    )


def _zsh(told: Told) -> str:
    lines = [f"#compdef {SCRIPT}", "_seqcls_beam() {", "    local -a commands=("]
    lines += [f"        {_quoted(f'{name}:{about}')}" for name, (about, _) in told.items()]
    lines += [
        "    )",
        "    if (( CURRENT == 2 )); then _describe command commands; return; fi",
        "    case $words[2] in",
    ]
    for name, (_, of) in told.items():
        lines += [f"    {name})", "        _arguments \\"]
        for each in of:
            about = re.sub(r"([\[\]:\\])", r"\\\1", each.about)
            value = f":value:({' '.join(each.values)})" if each.values else ":value:_files"
            lines.append(f"            {_quoted(f'*{each.word}[{about}]' + value * each.takes)} \\")
        lines += ["            '*:file:_files' ;;"]
    return "\n".join([*lines, "    esac", "}", "compdef _seqcls_beam " + SCRIPT, ""])


def _fish(told: Told) -> str:
    lines = [f"complete -c {SCRIPT} -n __fish_use_subcommand -f"]
    lines += [
        f"complete -c {SCRIPT} -n __fish_use_subcommand -a {name} -d {_quoted(about)}"
        for name, (about, _) in told.items()
    ]
    for name, (_, of) in told.items():
        for each in of:
            values = f" -x -a {_quoted(' '.join(each.values))}" if each.values else " -r" * each.takes
            of_it = f"-n '__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c {SCRIPT} {of_it} -l {each.name}{values} -d {_quoted(each.about)}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "’") + "'"


SHELLS: dict[str, Callable[[Told], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
