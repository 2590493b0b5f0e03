"""RequestThread: work in a thread, the last that was asked for; what was asked before it ends at its next report."""

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Cancelled(Exception):  # noqa: N818, for it is no error
    """Raised by a report in work that nobody waits for any more."""


class Report:
    """Told in words what a piece of work is at, it tells the work by Cancelled that it may end."""

    def __init__(self, said: Callable[[str], None], is_wanted: Callable[[], bool]):
        self._said, self.is_wanted = said, is_wanted

    def __call__(self, words: str) -> None:
        """Say what comes next; raises Cancelled if it need not."""
        if not self.is_wanted():
            raise Cancelled
        self._said(words)


class RequestThread:
    """One thread; `said` hears what its work is at, `failed` the error of work that was still wanted."""

    def __init__(self, said: Callable[[str], None], failed: Callable[[Exception], None]):
        self._said, self._failed = said, failed
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")
        self._count = itertools.count(1)
        self._newest = 0

    def ask(self, work: Callable[[Report], None]) -> Future:
        """Do this next, and nothing that was asked for before."""
        number = self._newest = next(self._count)
        return self._pool.submit(self._do, work, Report(self._said, lambda: number == self._newest))

    def cancel(self) -> None:
        """End what is asked for, at its next report."""
        self._newest = next(self._count)

    def _do(self, work: Callable[[Report], None], report: Report) -> None:
        try:
            if report.is_wanted():
                work(report)
        except Cancelled:
            pass
        except Exception as error:  # the reader hears of it: a thread's traceback would reach nobody
            if report.is_wanted():
                self._failed(error)
