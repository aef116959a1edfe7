"""`SeqclsClassify` of Beam YAML: rows of any source in, and out again with what the model says of each."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any, NamedTuple, Optional, cast, get_args

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import Coder
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import PCollection, Row, TaggedOutput
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_element_type

from seqcls_beam.config import ModelOptions
from seqcls_beam.config.option import kind_of, option_fields
from seqcls_beam.model.checkpoints import resolve
from seqcls_beam.reading.rows import RowLayout
from seqcls_beam.schema import renamed
from seqcls_beam.transforms.classify import Classify, Tokenize
from seqcls_beam.transforms.rows import FromRows, ToRows


class ErrorHandling(NamedTuple):
    """Where rejected rows go: `output` names it, as in Beam YAML's own transforms."""

    output: str


class _Own(NamedTuple):
    """What `SeqclsClassify` takes beside the fields of `ModelOptions`."""

    text_column: str = "text"
    text_pair_column: Optional[str] = None  # noqa: UP045 - Beam knows this spelling, and takes the other one for any type
    max_latency: Optional[float] = None  # noqa: UP045
    error_handling: Optional[ErrorHandling] = None  # noqa: UP045


class SeqclsClassify(beam.PTransform):
    """Rows with a Beam schema → the same rows, each with what PREDICTION batches say of it.

    That is `label`, `score`, `scores`, `tokens`, `truncated` and `model`; of a multi-label checkpoint `labels` and
    `scores`. Fields of the input keep their names, values and types; one that is named like one of these is renamed
    `input_<name>`. Without `error_handling` a row that cannot be labelled comes out in its place, without a label, and
    `reject`, null in all others, says why (`missing_text: …`); with it such rows come out of the named output in its
    stead, as `element`, the row, and `msg`.

    `text_column` and `text_pair_column` name fields, `max_latency` is that of `FromRows`, and all else is a field of
    `ModelOptions`: `model`, `max_length`, `overflow` … Raises `ValueError` or `TypeError` for one that is not known or
    cannot be, `CheckpointError` for a model, and `ValueError` for rows without a schema or without these fields.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        known = [*_Own._fields, *(each.name for each in option_fields(ModelOptions))]
        for name in config:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
                raise ValueError(f"SeqclsClassify has no {name!r}: {hint}")
        given = {name: value for name, value in config.items() if value is not None}
        _ensure_kinds(given)
        self._own = _Own(**{name: given.pop(name) for name in _Own._fields if name in given})
        self._options = ModelOptions(**given)
        self._errors = _output(self._own.error_handling)

    def expand(self, rows: PCollection[Any]) -> PCollection[Any] | dict[str, PCollection[Any]]:
        """Each row travels whole, as bytes beside its text, so that no type of Beam's is lost on the way."""
        own, kind = self._own, cast(Any, rows.element_type)
        fields = _fields(kind)
        columns = [name for name in (own.text_column, own.text_pair_column) if name is not None]
        for name in columns:
            if name not in fields:
                raise ValueError(f"the rows have no field {name!r}; theirs are {', '.join(map(repr, fields))}")
        checkpoint = resolve(self._options.model, self._options.revision, self._options.problem_type)
        coder = registry.get_coder(kind)
        whole = next(name for name in ("row", "row_", "row__") if name not in columns)
        packed = RowTypeConstraint.from_fields([*((name, fields[name]) for name in columns), (whole, bytes)])
        predictions = (
            rows
            | "Pack" >> beam.Map(_pack, columns, whole, coder).with_output_types(packed)
            | _FromPacked(own.text_column, None, own.text_pair_column, (whole,), max_latency=own.max_latency)
            | Tokenize(checkpoint, self._options)
            | Classify(checkpoint, self._options)
        )
        said = _said(checkpoint.problem == "multi_label", labelled=self._errors is not None)
        kept = [each.name for each in renamed((pa.field(name, pa.null()) for name in fields), said)]
        made = RowTypeConstraint.from_fields([*zip(kept, fields.values(), strict=True), *said.items()])
        unpack = beam.ParDo(_Unpack(coder, whole, list(zip(kept, fields, strict=True)), list(said), self._errors))
        answers = predictions | ToRows()
        if self._errors is None:
            return answers | "Unpack" >> unpack.with_output_types(made)
        failed = RowTypeConstraint.from_fields([("element", kind), ("msg", str)])
        both = answers | "Unpack" >> unpack.with_outputs(self._errors, main="good")
        both["good"].element_type, both[self._errors].element_type = made, failed
        return {"good": both["good"], self._errors: both[self._errors]}


def _signature() -> Signature:
    """What Beam YAML reads: keys and their types."""
    hints = _Own.__annotations__
    own = [(name, hints[name], _Own._field_defaults[name]) for name in _Own._fields]
    model = [(each.name, _optional(each.type), each.default) for each in option_fields(ModelOptions)]
    keys = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=kind) for name, kind, value in own + model
    ]
    return Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *keys])


def _optional(kind: Any) -> Any:
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return Optional[kinds[0]] if kinds else kind  # noqa: UP045 - as above


SeqclsClassify.__init__.__signature__ = _signature()  # type: ignore[attr-defined]


_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "text": ("a text", (str,)),
    "switch": ("true or false", (bool,)),
    "number": ("a whole number", (int,)),
    "decimal": ("a number", (int, float)),
}


def _ensure_kinds(given: dict[str, Any]) -> None:
    """Raise `ValueError` for a value of another kind than its key's: `"8"` is a text in YAML, and `8.5` a number."""
    kinds = {each.name: kind_of(each) for each in option_fields(ModelOptions)}
    kinds |= {"text_column": "text", "text_pair_column": "text", "max_latency": "decimal"}
    for name, value in given.items():
        expected, types = _KINDS.get(kinds.get(name, ""), ("", (object,)))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
            raise ValueError(f"{name}={value!r}: expected {expected}")


def _output(handling: Any) -> str | None:
    """The name of the output that rejected rows go to."""
    if handling is None:
        return None
    given = handling._asdict() if hasattr(handling, "_asdict") else handling
    # Beam YAML adds keys of its own to what it read, where it stood in the file among them.
    keys = {key for key in given if not str(key).startswith("__")} if isinstance(given, Mapping) else set()
    if keys != {"output"} or not isinstance(given["output"], str) or not given["output"]:
        raise ValueError(f"error_handling={handling!r}: expected the name of an output, as in {{output: rejected}}")
    if given["output"] == "good":
        raise ValueError("error_handling: 'good' is the output of the rows that are labelled; name another")
    return str(given["output"])


def _fields(kind: Any) -> dict[str, Any]:
    """Names and types of the fields of an element type."""
    try:
        return dict(named_fields_from_element_type(kind))
    except TypeError as error:
        raise ValueError(
            f"SeqclsClassify takes rows with a Beam schema, and these are {kind}: give them one, as MapToFields does"
        ) from error


def _said(multi_label: bool, labelled: bool) -> dict[str, Any]:
    """Fields that the model adds, with their types; where all are `labelled` none is null."""
    label = {"labels": Sequence[str]} if multi_label else {"label": str, "score": float}
    kinds = {**label, "scores": Sequence[float], "tokens": int, "truncated": bool}
    if labelled:
        return {**kinds, "model": str}
    return {**{name: Optional[kind] for name, kind in kinds.items()}, "model": str, "reject": Optional[str]}  # noqa: UP045


class _FromPacked(FromRows):
    """Packed rows → RECORD batches; a rejected row is all there, too."""

    def _layout(self, types: dict[str, pa.DataType]) -> RowLayout:
        return replace(super()._layout(types), whole=next(iter(self.keep)))


def _pack(row: Any, columns: list[str], whole: str, coder: Coder) -> Row:
    return Row(**{name: getattr(row, name) for name in columns}, **{whole: coder.encode(row)})


class _Unpack(beam.DoFn):
    """Dicts of `ToRows` → rows, or the rejected ones for an output of their own."""

    def __init__(
        self, coder: Coder, whole: str, kept: list[tuple[str, str]], said: list[str], errors: str | None
    ) -> None:
        self._coder = coder
        self._whole = whole
        self._kept = kept  # (name in the output, name in the input)
        self._said = said
        self._errors = errors

    def process(self, answer: dict[str, Any]) -> Iterator[Any]:
        """One each."""
        reject = answer.pop("reject")
        row = self._coder.decode(reject["raw"] if reject else answer[self._whole])
        why = reject and f"{reject['reason']}: {reject['detail']}"
        if why and self._errors is not None:
            yield TaggedOutput(self._errors, Row(element=row, msg=why))
            return
        kept = {name: getattr(row, given) for name, given in self._kept}
        yield Row(**kept, **{name: why if name == "reject" else answer[name] for name in self._said})
