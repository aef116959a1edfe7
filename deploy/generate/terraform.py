"""Variables of Terraform: the parameters of a template, typed, and a map of those that were given."""

import json

from deploy.generate import STAMP
from deploy.generate.parameters import Parameter
from deploy.generate.patterns import ANYTHING, anchored
from deploy.generate.templates import TEMPLATES

MODULES: dict[str, tuple[str, dict[str, str]]] = {
    "stream": ("stream", {}),
    "night": ("classify", {"run_date": "the workflow passes it, each night another"}),
}
"""Module → its template, and the parameters that are no variables of it, with why."""

_TYPES = {"text": "string", "switch": "bool", "number": "number", "decimal": "number", "names": "list(string)"}
_VALUES = {"switch": "tostring(var.{0})", "number": "tostring(var.{0})", "decimal": "tostring(var.{0})"}
_JOINED = 'var.{0} == null ? null : join(",", var.{0})'


def variables(module: str) -> str:
    """The file of a module."""
    template, left_out = MODULES[module]
    found = [each for each in TEMPLATES[template].parameters if each.name not in left_out]
    return "\n".join([f"# {STAMP}", "", *(_variable(each) for each in found), _given(found)])


def _variable(each: Parameter) -> str:
    absent = "nullable    = false" if each.required else "default     = null"
    lines = [
        f'variable "{each.name}" {{',
        f"  description = {quoted(each.sentences)}",
        f"  type        = {_TYPES[each.kind]}",
        f"  {absent}",
    ]
    condition = _condition(each)
    if not each.required:
        condition = f"var.{each.name} == null ? true : {condition}"
    if each.kind != "switch":
        lines += [
            "",
            "  validation {",
            f"    condition     = {condition}",
            f"    error_message = {quoted(f'{each.name}: expected {each.expected}.')}",
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _condition(each: Parameter) -> str:
    """What a value must be, as HCL asks for it."""
    value = f"var.{each.name}"
    if each.choices:
        return f"contains([{', '.join(map(quoted, each.choices))}], {value})"
    if each.kind in ("number", "decimal"):
        limits = [f"{value} >= {each.low}", *([f"{value} <= {each.high}"] if each.high else [])]
        return " && ".join([*([f"floor({value}) == {value}"] if each.kind == "number" else []), *limits])
    if each.kind == "names":
        value = f'join(",", {value})'
    return f'{value} != ""' if each.pattern == anchored(ANYTHING) else f"can(regex({quoted(each.pattern)}, {value}))"


def _given(found: list[Parameter]) -> str:
    """The map: as the template takes them, without those that were left out."""
    width = max(len(each.name) for each in found)
    lines = [
        f"    {each.name.ljust(width)} = "
        + (_JOINED if each.kind == "names" else _VALUES.get(each.kind, "var.{0}")).format(each.name)
        for each in found
    ]
    return "\n".join(
        [
            "locals {",
            "  # As the template takes them: texts, of those that were given.",
            "  template_parameters = { for name, value in {",
            *lines,
            "  } : name => value if value != null }",
            "}",
            "",
        ]
    )


def quoted(text: str) -> str:
    """A text as HCL writes it."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
