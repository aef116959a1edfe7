"""Mistakes, of people, disks and strangers: each ends every command in one sentence that names it, and in its code."""

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked, tiny
from tests.pipelines.broken import VERSIONS, material

pytestmark = pytest.mark.engine

RIGHT = "--input={m}/right.jsonl --model={m}/model"
CLASSIFY = f"classify {RIGHT} --output={{out}}"
PREPARE = f"prepare {RIGHT} --output={{out}}"
FINETUNE = "finetune --data={m} --model={m}/model --output={out}"
DATAFLOW = "--runner=DataflowRunner --input=gs://b/x.jsonl --model={m}/model --output=gs://b/out"
FEW = ("empty", "list", "null", "nested")

USAGE = [  # code 2
    (f"{CLASSIFY} --batch_rows=abc", "--batch_rows=abc: expected a whole number"),
    (f"{CLASSIFY} --dtype=float8", "--dtype=float8: expected one of 'auto', 'float32'"),
    (f"{CLASSIFY} --nope=1", "unknown flag --nope=1: neither this command nor Beam has it; --help lists the flags"),
    (f"{CLASSIFY} --run_date=2026-13-01", "--run_date=2026-13-01: expected a date such as 2026-11-20"),
    (f"{CLASSIFY} --runner=NoSuchRunner", "--runner=NoSuchRunner: Beam has no such runner; it has DataflowRunner"),
    (f"{CLASSIFY} --runner=os.path", "--runner=os.path: Beam has no such runner"),
    (f"{CLASSIFY} --runner=os.path.join", "--runner=os.path.join: Beam has no such runner"),
    (f"{CLASSIFY} --runner=FlinkRunner", "--flink_master=HOST:PORT is missing"),
    (f"{CLASSIFY} --runner=DataflowRunner", "right.jsonl is on this machine, and workers of Dataflow do not see it"),
    (f"classify {DATAFLOW}", "--runner=DataflowRunner needs --project=PROJECT, --region="),
    (f"{CLASSIFY} --direct_num_workers=abc", "--direct_num_workers=abc: expected a whole number"),
    (f"{CLASSIFY} --direct_running_mode=warp", "--direct_running_mode=warp: expected one of 'in_memory'"),
    (f"classify {RIGHT}", "--output is missing"),
    ("classify --input= --output={out}", "--input='' names nothing"),
    ("classify --input={m}/nothing.jsonl --output={out}", "--input={m}/nothing.jsonl matches no file"),
    ("classify --input=odd://x/y.jsonl --output={out}", "odd://x/y.jsonl cannot be listed: Protocol not known: odd"),
    ("classify --input={m}/latin.csv --model={m}/model --output={out}", "{m}/latin.csv: the names of its columns"),
    ("classify --input=- --model={m}/model --output={out}", "--input=- has no extension that says what it holds"),
    ("classify --text=x --input=y", "--text is a quick look at texts of the command line: it takes no input"),
    ("classify --input={m}/deep.jsonl --model={m}/model --output={out} --keep_columns=*", "more than 32 deep"),
    (f"{CLASSIFY} --plan --plan_json=/nothing/x", "--plan_json=/nothing/x cannot be written: there is no folder"),
    ("classify --subscription=x --output={out}", "--subscription=x: expected projects/PROJECT/subscriptions/NAME"),
    ("classify --subscription=projects/p/subscriptions/s", "--output is missing"),
    ("classify --until_idle=3 --output={out}", "--until_idle is of a stream: it needs --subscription"),
    ("prepare --input={m}/latin.csv --model={m}/model --output={out}", "{m}/latin.csv: the names of its columns"),
    (f"{PREPARE} --label_column=nope", "no column 'nope' in the first files; the columns there are 'id', 'text'"),
    (f"prepare {RIGHT}", "--output is missing: name the folder to publish into"),
    ("evaluate", "nothing to evaluate: give one of --input"),
    ("evaluate --labeled={m}/column.parquet --label_column=id", "--labeled has no column of answers"),
    ("evaluate --labeled={m}/whole.parquet --label_column=id", "{m}/whole.parquet is no Parquet file that can be"),
    ("evaluate --labeled={m}/name.parquet --label_column=id", "{m}/name.parquet is no Parquet file that can be read"),
    ("evaluate --labeled={m}/zeros.parquet --label_column=id", "{m}/zeros.parquet is no Parquet file that can be"),
    ("evaluate --labeled={m}/cut.parquet --label_column=id", "{m}/cut.parquet is no Parquet file that can be read"),
    ("evaluate --labeled={m}/empty.parquet --label_column=id", "{m}/empty.parquet is no Parquet file that can be"),
    (f"evaluate {RIGHT} --label_column=label --min_accuracy=2", "--min_accuracy=2.0: expected at most 1"),
    (f"evaluate {RIGHT} --data={{m}}", "--input and --data are given: give one of"),
    (f"{FINETUNE} --epochs=abc", "--epochs=abc: expected a number"),
    (f"{FINETUNE} --epochs=-1", "--epochs=-1.0: expected at least 0.001"),
    (FINETUNE, "--data={m}: nothing is published there; is this a folder that pipelines.prepare wrote?"),
    ("finetune --data={m}", "--model is missing: name the model to begin with"),
    ("finetune --nope", "unknown flag --nope: --help lists the flags"),
    ("compare a", "1 runs are named, and two are needed at least"),
    ("compare a b --max_label_shift=abc", "--max_label_shift=abc: expected a number"),
    ("compare a b --max_label_shift=7", "--max_label_shift=7.0: expected at most 1"),
    ("approve", "which folder? python -m pipelines.approve OUT"),
    ("approve {out} --run_date=x", "--run_date=x: expected a date such as 2026-11-20, or two, FROM..TO"),
    ("approve {out} --evaluation={m}", "--evaluation={m} holds no evaluation.json: name an output"),
    ("seal", "which folder? python -m pipelines.seal OUT"),
    ("seal {out} --until=yesterday", "--until=yesterday: expected a time such as 2026-11-20T10:00:00Z"),
    ("clean", "which folder? python -m pipelines.clean OUT"),
    ("clean {out} --before=2026-99-01", "--before=2026-99-01: expected a date such as 2026-11-20"),
    *((f"finetune --data={{m}}/{name} --model={{m}}/model --output={{out}}", "is no version") for name in FEW),
    *((f"evaluate --data={{m}}/{name} --model={{m}}/model", "00000001.json is no version") for name in FEW),
    *((f"{CLASSIFY} --plan --prices={{m}}/{name}/prices.json", "--prices={m}/" + name) for name in FEW),
    *((f"{CLASSIFY} --plan --plan_speed={{m}}/{name}/prices.json", "--plan_speed={m}/" + name) for name in FEW),
    *((f"{FINETUNE} --recipe={{m}}/{name}/prices.json", "{m}") for name in ("empty", "nested")),
]
FAILED = [  # code 1
    ("classify --input=http://127.0.0.1:9/x.jsonl --output={out}", "http://127.0.0.1:9/x.jsonl: no answer"),
    ("classify --input=hf://datasets/a/b/x.parquet --output={out}", "hf://datasets/a/b/x.parquet: ConnectError"),
    (f"classify {RIGHT} --output={{m}}/right.csv", "{m}/right.csv is a file where a folder is due: name another"),
    (f"classify {RIGHT} --output={{m}}/right.csv/x", "{m}/right.csv is a file where a folder is due: name another"),
    (f"classify {RIGHT} --output={{m}}/stray", "00000001.json is a folder, where a file is due: move it away"),
    (f"classify {RIGHT} --output=/proc/x", "--output=/proc/x cannot be written"),
    ("compare {m} {m}", "{m} holds no published run"),
    ("compare {m}/right.csv {m}/right.csv", "{m}/right.csv is a file where a folder is due"),
    ("compare {m}/stray {m}/stray", "00000001.json is a folder, where a file is due: move it away"),
    ("approve {m}/right.csv", "{m}/right.csv is a file where a folder is due"),
    ("approve {out}", "{out} holds nothing that was published"),
    ("seal {m}/right.csv", "{m}/right.csv is a file where a folder is due"),
    ("seal {out}", "{out} holds no pieces of a stream, which pipelines.classify --subscription writes"),
    ("clean {m}/right.csv", "{m}/right.csv is a file where a folder is due"),
    ("clean {out}", "{out} holds nothing that a command published, and no attempt at it"),
    *((f"compare {{m}}/{name} {{m}}/{name}", "{m}/" + name + "/_versions/00000001.json is no") for name in VERSIONS),
    *((f"clean {{m}}/{name}", "{m}/" + name + "/_versions/00000001.json is no version") for name in FEW),
    *((f"approve {{m}}/{name}", "{m}/" + name + "/_APPROVED.json is none of this program's") for name in FEW),
    *((f"seal {{m}}/{name}", "{m}/" + name + "/_pieces/stream.json ") for name in FEW),
    *((f"classify {RIGHT} --output={{m}}/{name}", "{m}/" + name + "/_versions/00000001.json") for name in FEW),
    *((f"prepare {RIGHT} --output={{m}}/{name}", "{m}/" + name + "/_versions/00000001.json") for name in FEW),
]
QUIET = "import pipelines.terminal.live as live; live.PLAIN_SECONDS = 1e6"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Of everybody, but for what is in it."""
    made = Path(tempfile.mkdtemp(prefix="mistakes-"))
    made.chmod(0o755)
    material(made / "m")
    tiny.checkpoint(made / "m" / "model")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def warm(folder: Path) -> Iterator[forked.Warm]:
    with forked.quiet(folder) as made:
        yield made


@pytest.fixture
def out(folder: Path, request: pytest.FixtureRequest) -> Path:
    return folder / f"out{abs(hash(request.node.name))}"


def words(line: str, folder: Path, out: Path) -> list[str]:
    return [word.replace("{m}", f"{folder}/m").replace("{out}", str(out)) for word in shlex.split(line)]


def sentence(done: forked.Ended, code: int, said: str, lines: int = 1) -> None:
    """Check that a command ended as it should."""
    assert done.code == code, done.err
    assert done.err.count("\n") == lines and all(line.startswith("seqcls_beam: ") for line in done.err.splitlines()), (
        done.err
    )
    assert said in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [*((line, 2, said) for line, said in USAGE), *((line, 1, said) for line, said in FAILED)],
    ids=lambda value: str(value)[:70],
)
def test_it_is_one_sentence_and_the_code(warm, folder, out, line, code, said):
    expected = said.replace("{m}", f"{folder}/m").replace("{out}", str(out))
    sentence(warm.run(words(line, folder, out)), code, expected)
    assert not out.exists()
