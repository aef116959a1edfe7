"""Waiting for something that may not end."""

import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class Late(Exception):
    """It took too long."""


def within(seconds: float, do: Callable[[], Answer]) -> Answer:
    """What something gives, or raises, in time. Raises `Late`; it is left to itself then, and may still be done.

    It is done by a thread of its own, since what asks for names, or waits for locks and disks, has no limit.
    """
    answers: list[Answer] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            answers.append(do())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="platform", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if not answers:
        raise Late
    return answers[0]
