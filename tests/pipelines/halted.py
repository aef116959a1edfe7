"""The commands as they are halted: tiny jobs, and what is in their output folders by another route."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqcls_beam.runs.table import open_labels
from tests import tiny
from tests.corpora import texts, write_jsonl
from tests.halt import Process, command
from tests.prepared import labelled, sentences

JOBS = ("classify", "day", "prepare", "finetune", "evaluate")


@dataclass(frozen=True)
class Job:
    """A command with its flags, and a flag for each letter that makes another run of it."""

    command: str
    folder: Path  # of files that are made once
    flags: list[str]
    variants: dict[str, str]
    partition: str = ""


def jobs_in(folder: Path) -> dict[str, Job]:
    """Jobs whose files lie in a folder."""
    model, data = folder / "model", folder / "data"
    _made(folder / "model.log", _checkpoint, str(model))
    rows = [{"id": i, "text": text, "label": ("negative", "positive")[i % 2]} for i, text in enumerate(texts(24))]
    source = write_jsonl(folder / "in.jsonl", rows)
    source.write_text(source.read_text() + "{\n")
    examples = write_jsonl(folder / "examples.jsonl", labelled(sentences(30, 8)))
    preparing = [f"--input={examples}", f"--model={model}", "--num_shards=1", "--near_duplicates=off"]
    preparing += ["--split=stratified"]
    _made(folder / "data.log", command, "prepare", [*preparing, f"--output={data}"])
    one = [f"--input={source}", f"--model={model}", "--threads=1"]
    labelling = [*one, "--unit_bytes=1000", "--max_rejected=1"]
    lengths = {each: f"--max_length={size}" for each, size in zip("xyz", (8, 12, 16), strict=True)}
    seeds = {each: f"--seed={number}" for number, each in enumerate("xyz", 1)}
    day, training = "run_date=2026-11-20", [f"--data={data}", f"--model={model}", "--epochs=1", "--threads=1"]
    return {
        "classify": Job("classify", folder, labelling, lengths),
        "day": Job("classify", folder, [*labelling, f"--{day}"], lengths, day),
        "prepare": Job("prepare", folder, preparing, seeds),
        "finetune": Job("finetune", folder, training, seeds),
        "evaluate": Job("evaluate", folder, [*one, "--bootstrap=20"], seeds),
    }


def undisturbed(job: Job, letter: str) -> Any:
    """What a run publishes where nobody else does."""
    out = job.folder / f"{job.command}-{letter}"
    alone = replace(job, flags=[flag for flag in job.flags if flag != f"--{job.partition}"], partition="")
    if not out.exists():
        process = run(alone, letter, out, job.folder / f"{out.name}.log")
        assert process.code() == 0, process.said()[-2000:]
    return content(alone, out)


def _checkpoint(folder: str) -> int:
    # Without dropout the same batches give the same weights.
    tiny.checkpoint(Path(folder), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return 0


def _made(log: Path, do: Any, *args: Any) -> None:
    process = Process(do, *args, log=log)
    assert process.code() == 0, process.said()[-2000:]


def run(job: Job, letter: str, out: Path | str, log: Path, step: str = "") -> Process:
    """Start a run of a job, with --overwrite; halted at a step, if one is named. Each is on a machine of its own."""
    cache = str(log.with_suffix(".cache"))
    return Process(
        command, job.command, flags_of(job, letter, out), log=log, step=step, output=str(out), SEQCLS_BEAM_CACHE=cache
    )


def flags_of(job: Job, letter: str, out: Path | str) -> list[str]:
    """The command line of a run."""
    return [*job.flags, job.variants[letter], "--overwrite", f"--output={out}"]


def versions(job: Job, out: Path) -> list[tuple[dict[str, Any], str]]:
    """All versions and the letters of their runs, oldest first."""
    read = [json.loads(path.read_bytes()) for path in sorted((out / "_versions" / job.partition).glob("*.json"))]
    return [(each, next(k for k, flag in job.variants.items() if flag in each["command"].split())) for each in read]


def newest(job: Job, out: Path) -> tuple[dict[str, Any], str]:
    """The newest version, and the letter of its run."""
    return versions(job, out)[-1]


def replacing(job: Job, out: Path) -> str:
    """The letter of the run that is not the newest."""
    return "y" if versions(job, out) and newest(job, out)[1] == "x" else "x"


def content(job: Job, out: Path) -> Any:
    """What the newest version publishes, without what two runs of the same do not share: names, times."""
    manifest, _ = newest(job, out)
    if job.command == "evaluate":
        found = json.loads((out / "evaluation.json").read_bytes())
        return {key: found[key] for key in ("rows", "metrics", "labels")}
    told = [each for each in manifest["parts"] if job.command != "finetune" or each["path"] in _WEIGHTS]
    digests = [_digest(out / each["path"]) for each in told]
    if job.command != "classify":
        return digests
    rows = open_labels(str(out)).to_table().drop_columns(["run_date"] if job.partition else [])
    return digests, rows.to_pylist()


_WEIGHTS = ("model.safetensors", "config.json", "tokenizer.json")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_whole(job: Job, out: Path) -> str:
    """The newest version is there, file by file, and nothing else is; the letter of its run."""
    manifest, letter = newest(job, out)
    named = {each["path"]: each.get("sha256") for each in [*manifest["parts"], *manifest["rejects"]]}
    card = [manifest["card"]] if "card" in manifest else []
    assert all((out / each["path"]).stat().st_size == each["bytes"] for each in card)
    there = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    # What a run left unfinished that lost is for `pipelines.clean`; no stage is left.
    ours = {name for name in there if not name.startswith(("_versions/", "_attempts/", "_report/"))}
    assert ours == {*named, *(each["path"] for each in card)}
    assert not [name for name in there if name.startswith("_attempts/") and ("/publish-" in name or "/over-" in name)]
    assert {name: _digest(out / name) for name in named} == named
    assert content(job, out) == undisturbed(job, letter)
    return letter


def halt_in_turn(job: Job, out: Path | str, steps: list[str], logs: Path, seen: Callable[[Path | str], Path]) -> None:
    """Of two runs always the one that would replace the newest, with --overwrite, each halted at another step.

    So where one is halted before it is decided, the same run is started again; where it is halted later, the other one.
    A last one is not halted; then all wake; then one more publishes. `seen` is the output as a folder of this disk.
    """
    started: list[tuple[str, Process]] = []
    try:
        for number, step in enumerate(steps):
            letter = replacing(job, seen(out))
            process = run(job, letter, out, logs / f"{number}.log", step)
            started.append((letter, process))
            assert process.halted(), (step, process.said()[-1500:])
        letter = replacing(job, seen(out))
        last = run(job, letter, out, logs / "last.log")
        started.append((letter, last))
        assert last.code() == 0, last.said()[-1500:]
        assert newest(job, seen(out))[1] == letter and "replaced since" not in last.said()
        for _, process in started[:-1]:
            process.wake().code()
    finally:
        for _, process in started:
            process.kill()
    assert_told(job, seen(out), started)
    assert assert_whole(job, seen(out)) == letter
    after = run(job, replacing(job, seen(out)), out, logs / "after.log")
    assert after.code() == 0, after.said()[-1500:]
    assert assert_whole(job, seen(out)) != letter


def assert_told(job: Job, out: Path, started: list[tuple[str, Process]], earlier: int = 0) -> None:
    """Who said that it is published is, after `earlier` versions; who did not said why, in one sentence."""
    letters = [letter for _, letter in versions(job, out)[earlier:]]
    for letter, process in started:
        code, said = process.code(), process.said()
        assert code in (0, 1), said[-1500:]
        if code == 0:
            assert letter in letters
        else:
            assert "Traceback" not in said, said[-3000:]
            assert re.search(r"another run.* publish", said.splitlines()[-1]), said[-1500:]
    # The same run may say so twice of one version, but no version is of a run that said otherwise.
    for letter in "xy":
        assert letters.count(letter) <= sum(of == letter and process.code() == 0 for of, process in started)
