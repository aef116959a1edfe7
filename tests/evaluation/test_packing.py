"""What was counted, as it travels between machines."""

import io
import json
import os
import pickle

import numpy as np
import pytest

from seqcls_beam.evaluation.counting.moments import Moments
from seqcls_beam.evaluation.counting.tally import Asked
from seqcls_beam.evaluation.evidence import Evidence, Sheet
from seqcls_beam.evaluation.gold import Gold
from seqcls_beam.evaluation.metrics import measure
from seqcls_beam.evaluation.packing import pack, unpack
from seqcls_beam.runs.run import RunError
from tests.evaluation.test_evaluation import rows


def counted(problem: str, labels: int) -> Evidence:
    names = tuple(f"l{i}" for i in range(labels))
    asked = Asked(problem, names, slices=("shop",), worst=3, bootstrap=20)
    evidence = Evidence(Sheet(asked, Gold(problem, names), "gold", (), kept=False))
    for number in range(3):
        part = rows(problem, 40, labels, seed=number)
        part.batch = (number, 0)
        evidence.tally.add(part)
    account = evidence.account
    account.ran({"device": "cpu", "threads": 2})
    account.read("names", 3, (0, 0, 1), "l0")
    account.reach((0, 2))
    account.name_unknown({"strange 東京": (1, 2, 3)})
    account.rejected["unknown_label"] += 2
    account.pieces.append({"path": "a", "start": 0, "losses": {}})
    return evidence


@pytest.mark.parametrize(("problem", "labels"), [("single_label", 2), ("multi_label", 4), ("regression", 1)])
def test_what_was_counted_comes_back_as_it_was(problem, labels):
    evidence = counted(problem, labels)
    back = unpack(pack(evidence))
    assert vars(back.account) == vars(evidence.account)
    assert json.dumps(measure(back.tally)) == json.dumps(measure(evidence.tally))
    back.merge(counted(problem, labels))  # it is as good as new
    assert back.tally.all.rows == 2 * evidence.tally.all.rows


def test_sums_come_back_to_the_last_bit():
    evidence = counted("regression", 1)
    evidence.tally.all.sums = Moments()
    evidence.tally.all.sums.add(np.array([[1e-30, 3e30], [0.1, 1e-38]]))
    back = unpack(pack(evidence))
    assert back.tally.all.sums is not None
    assert (back.tally.all.sums.centred() == evidence.tally.all.sums.centred()).all()


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("dressed", ["pickle", "object array", "class"])
def test_a_file_that_somebody_else_wrote_runs_nothing(dressed, tmp_path):
    mark, sink = str(tmp_path / "mark"), io.BytesIO()
    if dressed == "pickle":
        sink.write(pickle.dumps(Evil(mark)))
    elif dressed == "object array":
        np.savez(sink, tree=np.array([Evil(mark)], object))
    else:
        tree = json.dumps({"Popen": [["args", "true"]]}).encode()
        np.savez(sink, tree=np.frombuffer(tree, np.uint8))
    with pytest.raises(RunError, match="cannot be read back"):
        unpack(sink.getvalue())
    assert not os.path.exists(mark)


@pytest.mark.parametrize("damage", [slice(0, 0), slice(0, 2000), slice(50, None)])
def test_a_damaged_file_is_told_in_a_sentence(damage):
    with pytest.raises(RunError, match="damaged; start again"):
        unpack(pack(counted("single_label", 2))[damage])
