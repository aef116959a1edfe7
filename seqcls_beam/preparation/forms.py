"""What form labels have in a column: decided once, from the first rows, and held to in all others.

Many a value could be two things: [0, 1] a vector that says yes to the second of two labels, or the labels 0 and 1. What
can only be one is taken for it; where both can be, nothing is read before an option says which. A later row that does
not fit is told, and never read the other way. Where the first rows are all empty, the form stays undecided, and a later
row that could be both ends the run.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from seqcls_beam.preparation.labels import (
    MOST_NAMES,
    canonical,
    doubt,
    is_fraction,
    is_number,
    is_whole,
    listed,
    names,
    no_numbers,
    soft,
    whole_name,
)
from seqcls_beam.preparation.written import like_lists, written
from seqcls_beam.rows import is_list
from seqcls_beam.runs.run import RunError

Row = list[str | None]
"""What stands in a row that has several values, as `labels.names` writes them; null for an empty one."""

_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_FEW = 10  # labels that a sentence names


@dataclass(frozen=True)
class Form:
    """How a column of labels is read."""

    separator: str | None = None
    written: bool = False  # strings that are lists, as JSON, Python or a database writes them
    places: tuple[str, ...] = ()  # a row is 0 or 1 for each of these labels, in their order
    columns: tuple[str, ...] = ()  # that each hold this 0 or 1 for the label they are named after
    classes: bool = False  # class numbers, among which -1 says that there is no label
    undecided: bool = False  # nothing stood in the first rows: a row of 0 and 1 is of `places`, another names labels

    @property
    def said(self) -> str:
        """What a row holds, in words."""
        if self.columns:
            return f"0 or 1 in each of {len(self.columns)} columns"
        vectors = self.places and not self.undecided
        what = f"0 or 1 for each of {len(self.places)} labels" if vectors else "names of labels"
        if self.written:
            return f"lists of {what}, written as text"
        if self.separator is not None:
            return f"{what}, between {self.separator!r}"
        return "class numbers" if self.classes else what

    def read(
        self, values: pa.Array, problem: str, known: Container[str] = ()
    ) -> tuple[pa.Array, pa.Array, dict[int, str]]:
        """A column → (labels as `canonical` gives them; which rows have none, bool; row → why it is none of this form).

        Of `columns` it is a struct of them. Names in `known` are names, whatever they look like. A row that does not
        fit is not among those that have no label.
        """
        if problem != "multi_label":
            found, missing = canonical(values, problem)
            if problem == "regression":
                strange = no_numbers(values, missing)
                gone = [each and row not in strange for row, each in enumerate(missing.to_pylist())]
                wrong = {row: f"{_shown(text)!r} is no finite number of 32 bits" for row, text in strange.items()}
                return found, pa.array(gone, pa.bool_()), wrong
            if self.classes:
                found = pc.if_else(pc.equal(found, "-1"), None, found)
            wrong = {row: "a list, where others are labels" for row in like_lists(found, known)}
            return found, pc.is_null(found), wrong
        rows = self.rows(values, known)
        sets: list[list[str] | None] = []
        wrong = {}
        for number, row in enumerate(rows):
            try:
                sets.append(None if row is None else self._set(row, known))
            except ValueError as error:
                wrong[number] = str(error)
                sets.append([])
        return pa.array(sets, pa.list_(pa.string())), pa.array([each is None for each in sets], pa.bool_()), wrong

    def rows(self, values: pa.Array, known: Container[str]) -> Iterable[Row | ValueError | None]:
        """The values of each row, None where there are none, or what is wrong with it."""
        if self.columns:
            together = zip(*(names(each).to_pylist() for each in values.flatten()), strict=True)
            return [None if set(row) in ({None}, {"-1"}) else list(row) for row in together]
        if self.written:
            texts = names(values).to_pylist()
            return [None if text is None else _read(text) for text in texts]
        rows: list[Row | ValueError | None] = list(listed(values, self.separator))
        if self.separator is not None:
            for row in like_lists(names(values), known):
                if any(each not in known for each in rows[row] or ()):  # type: ignore[union-attr]
                    rows[row] = ValueError("a list, where others are labels")
        return rows

    def _set(self, row: Row | ValueError, known: Container[str]) -> list[str]:
        """The labels of a row; raises `ValueError` where it is of another form, `RunError` where it could be of two."""
        if isinstance(row, ValueError):
            raise row
        flagged = not self.undecided or _are_flags(row)
        if self.undecided and flagged and not self.places:
            raise RunError(
                f"no label stands in the first rows, and {_example([row])} in a later one: does it say 0 or 1 for each "
                f"of {len(row)} labels, or are these the labels that the row has? --labels decides: all names in their "
                "order for the first, VALUE:NAME,… for the second"
            )
        if not self.places or not flagged:
            found = [each for each in row if each is not None]
            # Where labels are cut apart, one sign may stand before the first and one behind the last; spaces anywhere.
            ends = self.separator is not None and len(row) - len(found) == (row[0] is None) + (row[-1] is None)
            if len(found) < len(row) and not (found and (ends or self.separator == " ")):
                raise ValueError(f"nothing stands in one place of {_example([row])}, where each is a label")
            _refuse_repeated([whole_name(each) for each in found])
            return sorted(set(found))
        if len(row) != len(self.places):
            raise ValueError(f"{len(row)} values, where there is one for each of {len(self.places)} labels")
        flags = [None if each is None else _FLAGS.get(each.casefold()) for each in row]
        if None in flags:
            at = flags.index(None)
            told = "nothing" if row[at] is None else repr(row[at])
            raise ValueError(f"{told} for {self.places[at]!r}, where 0 and 1, or false and true, are read")
        return sorted(place for place, flag in zip(self.places, flags, strict=True) if flag)


@dataclass(frozen=True)
class Column:
    """A column of labels before its form is known."""

    option: str  # that named it, with its value
    samples: tuple[pa.Array, ...]  # the first values, of one or several files
    separator: str | None
    asked: tuple[str, ...] | None  # --labels
    model: tuple[str, ...] | None = None  # the labels of the model that they are compared with, in order …
    counted: bool = True  # … which may stand there by their numbers from 0
    auto: bool = False  # what stands there alone says whether rows have one label or several, names or numbers

    @property
    def readable(self) -> set[str] | None:
        """What may stand there for a label; None for anything."""
        if self.asked is not None:
            return {each.split(":", 1)[0] for each in self.asked}
        if self.model is None:
            return None
        return {*self.model, *(map(str, range(len(self.model))) if self.counted else ())}

    @property
    def places(self) -> tuple[str, ...] | None:
        """What the places of a vector would be, None where nothing says it; none at all where --labels rules it out."""
        if self.asked is None:
            return self.model
        numbers = tuple(str(number) for number in range(len(self.asked)))
        if self.renamed:
            return numbers if self.readable == set(numbers) else ()
        return self.asked

    @property
    def renamed(self) -> bool:
        """Whether --labels says what stands there for a label."""
        return self.asked is not None and any(":" in each for each in self.asked)

    @property
    def known(self) -> set[str]:
        """Names that were named, which are no lists whatever they look like."""
        return (self.readable or set()) | set(self.model or ())


def form_of(column: Column) -> Form:
    """The first values of a column → their form; raises `ValueError` for what is of none, or could be of two."""
    lists = any(is_list(each.type) for each in column.samples)
    form = Form(column.separator, written=not lists and _is_written(column))
    if not (lists or form.written or form.separator is not None):
        _refuse_doubtful(column)
        return form
    rows: list[Row] = []
    for each in column.samples:
        for row in form.rows(each, column.known):
            if isinstance(row, ValueError):
                raise ValueError(f"{column.option}: {row}")
            if row is not None:
                rows.append(row)
    if form.separator is not None and column.auto and rows and all(len(row) == 1 for row in rows):
        raise ValueError(
            f"{column.option}: none of the first {len(rows):,} labels has a --label_separator={column.separator}, such "
            f"as {_example(rows)}: is it another one? If they only happen to have one label each, say "
            "--problem=multi_label"
        )
    if not any(each is not None for row in rows for each in row):
        return _undecided(form, column)
    booleans = any(is_list(each.type) and pa.types.is_boolean(each.type.value_type) for each in column.samples)
    return Form(form.separator, form.written, _places(rows, column, booleans))


def _read(text: str) -> Row | ValueError:
    row = written(text)
    return ValueError("no list as others are") if row is None else row


def _is_written(column: Column) -> bool:
    """Whether a column of strings holds lists; raises `ValueError` where only some are, or none can be read."""
    plain = None
    found = []
    for each in column.samples:
        texts = names(each)
        like = set(like_lists(texts, column.known, column.separator))
        for number, text in enumerate(texts.to_pylist()):
            if number in like:
                found.append(text)
            elif text not in (None, "set()"):
                plain = plain or text
    if not found:
        return False
    told = f"{column.option} holds {_shown(found[0])}"
    for text in found:
        if written(text) is None:
            raise ValueError(
                f"{column.option} holds {_shown(text)}: is it a list that was written as text, or the name of a label? "
                'A list is written as JSON, ["a", "b"] or [1, 0], or as Python writes one; a name stands in --labels'
            )
    if plain is not None:
        raise ValueError(
            f"{told}, and also {_shown(plain)}: the first is a list that was written as text, or the name of a label. "
            "Write all as lists, or name the labels with --labels"
        )
    if column.separator is not None:
        raise ValueError(
            f"{told}, a list that was written as text: to read it as one, leave out --label_separator="
            f"{column.separator}; to cut it there, write the values without brackets"
        )
    return True


def _refuse_doubtful(column: Column) -> None:
    """Raise `ValueError` for single values that could be something else than names, where no option says which."""
    if column.auto and column.readable is None:
        found = {name for each in column.samples for name in pc.unique(names(each)).to_pylist()} - {None}
        why = doubt(found, column.option, several=False)
        if why is not None:
            raise ValueError(why)


def _undecided(form: Form, column: Column) -> Form:
    """The form of a column of lists whose first rows are empty: what options alone say of it."""
    if column.renamed:
        return form
    both = column.readable is None or not column.readable.isdisjoint(_FLAGS)
    return replace(form, places=() if both else column.places or (), undecided=True)


def _are_flags(row: Row) -> bool:
    there = [each.casefold() for each in row if each is not None]
    return bool(there) and all(each in _FLAGS for each in there)


def _places(rows: list[Row], column: Column, booleans: bool) -> tuple[str, ...]:
    """The places of a column of vectors; none where rows hold the labels themselves."""
    found = {each.casefold() for row in rows for each in row if each is not None}
    readable, places = column.readable, column.places
    if readable is None and not all(map(is_number, found - {"true", "false"})):
        return ()
    if not found <= _FLAGS.keys():
        if readable is None or not found <= readable:
            _refuse_soft(found, rows, column)
        return ()
    lengths = sorted({len(row) for row in rows})
    repeating = {len(row) for row in rows if _repeats(row)}
    fits = len(lengths) == 1 and (places is None or lengths == [len(places)])
    if places is not None:  # then rows of another length can be told from it
        fits = fits or len(places) in repeating
    numbers = not (booleans or repeating) and (readable is None or set(map(whole_name, found)) <= readable)
    if fits and not numbers:
        if max(lengths) > MOST_NAMES:
            raise ValueError(f"{column.option} holds vectors of {max(lengths):,} values, more than there are labels")
        return tuple(map(str, range(lengths[0]))) if places is None else places
    if fits and not column.renamed:
        names_ = (column.model or ("a", "b"))[: lengths[0]]
        raise ValueError(
            f"{column.option} holds lists such as {_example(rows)}: do they say 0 or 1 for each of {lengths[0]} "
            "labels, or are they the numbers of the labels that a row has? --labels decides: names in their order, as "
            f"in --labels={','.join(names_)}, for the first, VALUE:NAME, as in --labels="
            f"{','.join(f'{number}:{name}' for number, name in enumerate(names_))}, for the second"
        )
    if booleans or repeating or (column.asked is not None and not numbers):
        many = "" if places is None else f", that of the {len(places)} labels"
        raise ValueError(
            f"{column.option} holds lists of 0 and 1, such as {_example(rows)}. They do not say 0 or 1 for each label: "
            f"then they would have one length{many}, and theirs are {', '.join(map(str, lengths[:_FEW]))}. Nor are "
            "they the numbers of the labels that a row has: those stand once in a row, and in --labels if it is given. "
            "With all labels named in their order by --labels, rows of another length are rejected alone"
        )
    return ()


def _refuse_soft(found: set[str], rows: list[Row], column: Column) -> None:
    """Raise `ValueError` for lists of numbers that are neither 0 and 1 nor the numbers of labels."""
    if not all(is_number(each) or each in ("true", "false") for each in found):
        return
    share = min(filter(is_fraction, found), default=None)
    if share is not None:
        raise ValueError(soft(share, column.option))
    for row in rows:
        try:
            _refuse_repeated([each for each in row if each])
        except ValueError as error:
            raise ValueError(
                f"{column.option} holds lists such as {_example([row])}: {error}. Give 0 or 1 for each label, or each "
                "label once; with the labels named by --labels=VALUE:NAME,… such rows are rejected alone"
            ) from None


def _refuse_repeated(row: list[str]) -> None:
    if _repeats(row) and all(map(is_whole, row)):
        raise ValueError("a number stands there twice, which the number of a label does not")


def _repeats(row: Iterable[str | None]) -> bool:
    there = [each for each in row if each is not None]
    return len(set(there)) < len(there)


def _example(rows: list[Row]) -> str:
    row = next((row for row in rows if row), [])
    return _shown(f"[{', '.join(map(str, row))}]")


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
