"""The same work for many items, some at a time, without holding all items."""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

from aisle.errors import AisleError

T = TypeVar("T")
R = TypeVar("R")


class Outcome(Generic[T, R]):
    """What became of an item: a result, or the error that it ended with."""

    def __init__(self, item: T, result: R | None, error: AisleError | OSError | None) -> None:
        self.item = item
        self.error = error
        self._result = result

    @property
    def result(self) -> R:
        """The result; raises the error if that is how it ended."""
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]


def in_parallel(items: Iterable[T], work: Callable[[T], R], *, threads: int) -> Iterator[Outcome[T, R]]:
    """Do `work` for each item and yield the outcomes as they come.

    Items are taken one by one, in order, as threads become free. When the caller stops early, or is
    interrupted, no further item is begun; the threads do not keep the program from ending.
    """
    source = iter(items)
    turn = threading.Lock()
    stopped = threading.Event()
    done: SimpleQueue[Outcome[T, R] | BaseException | None] = SimpleQueue()

    def take_and_work() -> None:
        try:
            while not stopped.is_set():
                with turn:
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                done.put(_attempt(item, work))
        except BaseException as error:  # noqa: BLE001 - the thread's outermost loop: the caller raises it
            done.put(error)
        else:
            done.put(None)

    for _ in range(threads):
        threading.Thread(target=take_and_work, daemon=True).start()
    running = threads
    try:
        while running:
            outcome = done.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                yield outcome
    finally:
        stopped.set()


def _attempt(item: T, work: Callable[[T], R]) -> Outcome[T, R]:
    try:
        return Outcome(item, work(item), None)
    except (AisleError, OSError) as error:
        return Outcome(item, None, error)
