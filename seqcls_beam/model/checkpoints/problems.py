"""What the outputs of a classifier are: one of several labels, each label by itself, or a number.

A config does not always say it, and then libraries differ: of one output transformers' pipeline shows the sigmoid, and
its models are trained as regressions.
"""

from typing import Any

from seqcls_beam.model.checkpoints.errors import CheckpointError

SINGLE, MULTI, NUMBER = "single_label_classification", "multi_label_classification", "regression"

_SAID = {
    SINGLE: "one of its labels a text (softmax)",
    MULTI: "each label by itself (sigmoid)",
    NUMBER: "a number as it is (regression)",
}
_FUNCTIONS = {
    **{name: MULTI for name in ("torch.nn.modules.activation.Sigmoid", "torch.nn.Sigmoid")},
    **{name: SINGLE for name in ("torch.nn.modules.activation.Softmax", "torch.nn.Softmax")},
    **{name: None for name in ("torch.nn.modules.linear.Identity", "torch.nn.Identity")},
}
"""Classes that sentence_transformers names as the function of a cross-encoder's outputs → what these are.

None: nothing is done to them, which is a regression where there is one; of several, they are compared and no more.
"""


def problem_of(raw: dict[str, Any], outputs: int, name: str, asked: str | None) -> tuple[str, str, bool]:
    """config.json → (problem type as transformers calls it, how it was found, whether something says otherwise).

    The second is a sentence where there was a choice, else "". `asked` comes before what the config says. Raises
    `CheckpointError`, which calls the checkpoint `name`, for what cannot be, and where the config names a function that
    is none of those.
    """
    known, functions = raw.get("problem_type"), _functions(raw, name)
    function = functions[0] if functions else None
    said = "" if function is None else f"its config names the function {function!r}"
    if known is not None:
        said = f"its config says {known}"
    if asked is not None:
        _check(asked, outputs, name, f"--problem_type={asked}")
        contrary = (f"; {said}" if said and known != asked else "") + ("" if known else _also(functions[1:]))
        meant = known if known is not None else _FUNCTIONS.get(function or "") or asked
        return asked, f"{_SAID[asked]}, as --problem_type says{contrary}", meant != asked
    if known is not None:
        _check(known, outputs, name, f"problem_type {known!r}")
        contrary = _also([each for each in functions if _FUNCTIONS.get(each, "") not in (None, known)])
        return known, f"{_SAID[known]}, as its problem_type says{contrary}" if contrary else "", contrary != ""
    if function is not None:
        if function not in _FUNCTIONS:
            kinds = (NUMBER, MULTI) if outputs == 1 else (SINGLE, MULTI)
            raise CheckpointError(
                f"{name}: {said}, which is not applied here: are its outputs "
                f"{' or '.join(_SAID[kind] for kind in kinds)}? Say it with "
                f"{' or '.join(f'--problem_type={kind}' for kind in kinds)}"
            )
        found = _FUNCTIONS[function] or (NUMBER if outputs == 1 else SINGLE)
        _check(found, outputs, name, f"the function {function!r}")
        contrary = _also([each for each in functions[1:] if _FUNCTIONS.get(each, "") != _FUNCTIONS[function]])
        return found, f"{_SAID[found]}: {said}{contrary}", contrary != ""
    if outputs == 1:
        return NUMBER, f"{_SAID[NUMBER]}: its config does not say it; for a sigmoid give --problem_type={MULTI}", False
    unsaid = f"its config does not say it; for labels by themselves give --problem_type={MULTI}"
    return SINGLE, f"{_SAID[SINGLE]}: {unsaid}", False


def _also(functions: list[str]) -> str:
    """What is said of functions that are not taken."""
    return "".join(f"; its config also names the function {each!r}" for each in functions)


def _functions(raw: dict[str, Any], name: str) -> list[str]:
    """The functions that sentence_transformers puts outputs through, by their names in Python; it takes the first."""
    newer = raw.get("sentence_transformers")
    if not isinstance(newer, dict | None):
        raise CheckpointError(f"{name}: sentence_transformers in config.json is {newer!r}, and no object with names")
    found = [] if newer is None else [newer.get("activation_fn")]
    found.append(raw.get("sbert_ce_default_activation_function"))  # as versions before 4 wrote it
    return list(dict.fromkeys(str(each) for each in found if each is not None))


def _check(problem: Any, outputs: int, name: str, what: str) -> None:
    if problem not in list(_SAID):  # as `==` has it: JSON may have put a list there
        raise CheckpointError(f"{name}: {what} is none of {', '.join(_SAID)}")
    if problem == NUMBER and outputs > 1:
        raise CheckpointError(f"{name}: {what}: a regression of {outputs} values at once; only one value is supported")
    if problem == SINGLE and outputs == 1:
        raise CheckpointError(
            f"{name}: {what}: of one output it would give every text 1.0; say with --problem_type whether it is "
            f"{MULTI} (sigmoid) or {NUMBER}"
        )
