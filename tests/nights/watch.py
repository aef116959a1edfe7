"""Looks at what is approved all the time, and judges every state that it sees."""

import json
import re
import threading
from typing import Any

import fsspec

NIGHT = re.compile(r"run_date=\d{4}-\d\d-\d\d")


class Watch:
    """A thread that reads OUT/_APPROVED.json again and again, as a consumer does that nobody tells of nights."""

    def __init__(self, fs: fsspec.AbstractFileSystem, out: str, every: float) -> None:
        self.refused: set[str] = set()  # partitions that may not pass, for their gate fails
        self.states: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self._fs, self._out, self._every, self._raw = fs, out, every, b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def newest(self) -> dict[str, Any]:
        """What is approved now. Raises `AssertionError` for a state that was wrong, at any time before."""
        self._look()
        assert not self.wrong, self.wrong
        return self.states[-1] if self.states else {"partition": None, "passed": {}, "failed": {}}

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._look()

    def _look(self) -> None:
        try:
            raw = self._fs.cat_file(f"{self._out}/_APPROVED.json")
        except FileNotFoundError:
            if self.states:
                self.wrong.append("it was there, and is gone")
            return
        except OSError as error:  # the emulator is busy: there will be another look
            print(f"a look at what is approved failed: {error}")
            return
        if raw == self._raw:
            return
        self._raw = raw
        try:
            state = json.loads(raw)
            self.wrong.extend(self._judge(state, self.states[-1] if self.states else None))
            self.states.append(state)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.wrong.append(f"{raw[:300]!r}: {error!r}")

    def _judge(self, state: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
        wrong = []
        passed, failed, partition = state["passed"], state["failed"], state.get("partition")
        if state["kind"] != "approval":
            wrong.append(f"kind {state['kind']}")
        if any(not NIGHT.fullmatch(each) for each in (*passed, *failed)):
            wrong.append(f"partitions of another name: {[*passed, *failed]}")
        if self.refused & set(passed):
            wrong.append(f"{self.refused & set(passed)} passed, whose gate fails")
        if both := [each for each in set(passed) & set(failed) if passed[each] == failed[each]["version"]]:
            wrong.append(f"{both} passed and failed")
        for each, number in passed.items():
            wrong.extend(self._missing(each, number))
        if partition is not None:
            wrong.extend(self._misnamed(state))
        was = before.get("partition") if before else None
        if was is not None and (partition is None or (partition, state["version"]) < (was, before["version"])):  # type: ignore[index]
            wrong.append(f"it moved back from {was} to {partition}")
        if before and not set(before["passed"]) <= set(passed) | set(failed):
            wrong.append(f"{set(before['passed']) - set(passed)} had passed, and is forgotten")
        return [f"state {len(self.states)}: {each}" for each in wrong]

    def _misnamed(self, state: dict[str, Any]) -> list[str]:
        partition, passed = state.get("partition"), state["passed"]
        number = passed.get(partition)
        if number is None or partition != max(passed):
            return [f"it points to {partition}, and {sorted(passed)} passed"]
        expected = {"version": f"_versions/{partition}/{number:08d}.json", "labels": f"labels/{partition}"}
        run = json.loads(self._fs.cat_file(f"{self._out}/{expected['version']}"))["run_id"]
        return [f"{key} is {state[key]}" for key, is_ in {**expected, "run_id": run}.items() if state[key] != is_]

    def _missing(self, partition: str, number: int) -> list[str]:
        """What is not there of a version that passed."""
        try:
            said = json.loads(self._fs.cat_file(f"{self._out}/_versions/{partition}/{number:08d}.json"))
            self._fs.invalidate_cache()
            sizes = {part["path"]: self._fs.info(f"{self._out}/{part['path']}")["size"] for part in said["parts"]}
        except FileNotFoundError as error:
            return [f"{partition} version {number}: {error}"]
        return [f"{part['path']} has another size" for part in said["parts"] if sizes[part["path"]] != part["bytes"]]
