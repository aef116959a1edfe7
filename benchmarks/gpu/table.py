"""A result as markdown, as docs/engine.md shows it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.bench import Result

CUT_OFF = r"(RuntimeError: [\w.]+: )?cut off: "
"""How the error of a step begins that took longer than it may, its own or its command's."""


class Row(NamedTuple):
    """A line of the table."""

    name: str
    step: str  # whose result it shows
    how: str
    cell: Callable[[Result], str]


def table(path: Path) -> str:
    """The table of a gpu.json."""
    result: Result = json.loads(path.read_text())
    steps: dict[str, Result] = result["steps"]
    lines = [_caption(result), "", "| | measured | how |", "|---|---|---|"]
    for row in ROWS:
        found = steps.get(row.step, {})
        try:
            said = row.cell(found)
        except KeyError:
            said = "not measured" + _why(found)
        lines.append(f"| {row.name} | {said.replace('|', '/')} | {row.how} |")
    return "\n".join(lines)


def _caption(result: Result) -> str:
    versions, gpu = result["versions"], result.get("gpu")
    small = "**A rehearsal with tiny models: no figure means anything.** " if result["small"] else ""
    card = f"{gpu['name']} ({gpu['power.limit']}, driver {gpu['driver_version']})" if gpu else result["processor"]
    later = "".join(f"; later, on such a machine again, `{each['command']}`" for each in result.get("later", []))
    return (
        f"{small}{card}, {result['cores']} cores, torch {versions['torch']}, transformers {versions['transformers']}: "
        f"`{result['command']}`{later}. Weights are random, in the shapes of bert-base and MiniLM-L6."
    )


def _why(found: Result) -> str:
    said: str | None = found.get("skipped") or found.get("error") or found.get("no_rate")
    if said and re.match(CUT_OFF, said):
        # What a command printed while it was ended tells nothing.
        return f": cut off after {found['step_seconds']:.0f} s, when no time was left"
    return f": {said.splitlines()[0][:160]}" if said else ""


def _ceilings(found: Result) -> str:
    dtype = "float16" if "float16_TFLOP_s" in found else "float32"
    rates = found[f"{dtype}_TFLOP_s"].values()
    return f"copies {found['copy_GB_s']:,.0f} GB/s, {dtype} products {min(rates):.3g} to {max(rates):.3g} TFLOP/s"


def _engine(found: Result) -> str:
    speeds = {int(budget): each["Mtokens_s"] for budget, each in found["batch_tokens"].items()}
    first, best = next(iter(speeds)), max(speeds, key=lambda each: speeds[each])
    other = f" ({speeds[best]:.3g} M at {best:,} a pass)" if best != first else ""
    facts, far = found["facts"], found["from_float32"]["max_probability_difference"]
    return f"**{speeds[first]:.3g} M tokens/s**{other}, {facts['engine']}, {facts['dtype']}, max Δp {far:.1e}"


def _kernels(found: Result) -> str:
    parts = [
        f"{kind} {each['measured']:.3g} of {each['expected']:.3g}, × {each['ratio']:.3g}"
        for kind, each in found["beside_ceilings"].items()
    ]
    return "; ".join(parts) + f"; kernels run {found['kernels']['busy']:.0%} of the time"


def _compiled(found: Result) -> str:
    eager, compiled = found["eager"], found["compiled"]
    if "passes" not in compiled:
        return f"refused: {compiled['refused'][0]['reason']}"
    speed, seconds = compiled["Mtokens_s"], compiled["load_seconds"] + compiled["first_seconds"]
    return f"{speed:.3g} M tokens/s, {speed / eager['Mtokens_s']:.2f} × eager; {seconds:.0f} s until it runs"


def _bundled(found: Result) -> str:
    facts, far = found["facts"], found["from_float32"]
    refused = [f"{each['engine']} {each['dtype']}: {each['reason']}" for each in facts.get("refused", [])]
    return (
        f"{facts['engine']}, {facts['dtype']}; {far['label_agreement']:.1%} of the labels of float32, "
        f"max Δp {far['max_probability_difference']:.1e}" + (f"; refused: {'; '.join(refused)}" if refused else "")
    )


def _ladder(found: Result) -> str:
    tokens, far = found["batch_tokens"], found["max_logit_difference"]
    return f"{tokens['before']:,} → {tokens['after']:,} tokens a pass; logits within {far:.1e}"


def _end_to_end(found: Result) -> str:
    said = f"**{found['Mtokens_s']:.3g} M tokens/s**"
    if "share" in found:
        said += f", {found['share']:.2f} of the engine's {found['engine_Mtokens_s']:.3g} M"
    if "busy_in_the_middle" in found["gpu"]:
        said += f", card busy {found['gpu']['busy_in_the_middle']:.0%}"
    return said + f" ({found['rows']:,} texts of {found['tokens'] / found['rows']:.0f} tokens)"


def _rivals(found: Result) -> str:
    rates: dict[str, float] = found["texts_s"]
    ours = rates["seqcls_beam"]
    best: dict[str, str] = {}
    for row in sorted(rates, key=lambda each: -rates[each]):
        best.setdefault(row.partition(": ")[0], row)
    said = [f"{ours / rates[row]:.1f} × {row}" for row in best.values() if row != "seqcls_beam"]
    missing = {row.partition(": ")[0]: why for row, why in found["left_out"].items()}
    said += [f"{name} left out, {why}" for name, why in missing.items() if name not in best]
    return f"**{ours:,.0f} texts/s**: " + "; ".join(said)


def _training(found: Result) -> str:
    said = f"{found['tokens_s']:,} tokens/s, {found['machine']['computed_in']}"
    return said + (f", **{found['times']:.2f} ×** padded" if "times" in found else "")


def _tests(found: Result) -> str:
    failed = found["failed"]
    more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    return str(found["said"]) + "".join(f"; {each}" for each in failed[:5]) + more


_ALONE = "batches of 8,192 sequences, mean 128 tokens"
_BESIDE = "µs a token, measured and at the ceilings; the engine as above"
_CLASSIFY = "`python -m pipelines.classify`, no flag of speed, start-up off"
_FINETUNE = "`python -m pipelines.finetune`, 64 rows a step"
ROWS = (
    Row("what the card can do", "ceilings", "65,536 rows, 20 products between waits", _ceilings),
    Row("engine, bert-base", "engine, bert-base", _ALONE, _engine),
    Row("its kernels", "engine, bert-base", _BESIDE, _kernels),
    Row("engine, bert-base, bfloat16", "engine, bert-base, bfloat16", _ALONE, _engine),
    Row("engine, MiniLM-L6", "engine, MiniLM-L6", _ALONE, _engine),
    Row("its kernels", "engine, MiniLM-L6", _BESIDE, _kernels),
    Row("compiled, bert-base", "compiled", "`--compile`, sequences of 65 to 128 tokens", _compiled),
    Row("bundled checkpoint", "bundled checkpoint, auto", "`--dtype=auto`, the bundled sample", _bundled),
    Row("lack of memory", "lack of memory", "MiniLM-L6, 256 MiB left", _ladder),
    Row("end to end, bert-base", "end to end", _CLASSIFY, _end_to_end),
    Row("… short texts", "end to end, short texts", _CLASSIFY, _end_to_end),
    Row(
        "… 2 threads",
        "end to end, 2 threads",
        "`--direct_running_mode=multi_threading --direct_num_workers=2`",
        _end_to_end,
    ),
    Row("end to end, MiniLM-L6", "end to end, MiniLM-L6", _CLASSIFY, _end_to_end),
    Row(
        "… 4 processes",
        "end to end, MiniLM-L6, 4 processes",
        "`--direct_running_mode=multi_processing`",
        _end_to_end,
    ),
    Row("other loops", "rivals", "bert-base, from texts to answers, each at its best setting here", _rivals),
    Row("training, bert-base", "training, padded", _FINETUNE, _training),
    Row("… without padding", "training, packed", f"{_FINETUNE}, `--packed`", _training),
    Row("tests", "tests", "`pytest -m gpu`", _tests),
)
