"""RequestThread: run requests in one thread; only the newest is answered, an older one ends at its next report."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Cancelled(Exception):  # noqa: N818, a signal and no error
    """Raised by a report in work whose answer nobody needs any more."""


class Report:
    """Callable that work tells its progress, and that ends outdated work."""

    def __init__(self, say: Callable[[str], None], is_wanted: Callable[[], bool]):
        self._say, self.is_wanted = say, is_wanted

    def __call__(self, words: str) -> None:
        """Say what comes next; raises Cancelled if the work is outdated."""
        if not self.is_wanted():
            raise Cancelled
        self._say(words)


class RequestThread:
    """One thread for all requests: `say` gets the progress of work, `fail` the error of work that is still wanted."""

    def __init__(self, say: Callable[[str], None], fail: Callable[[Exception], None]):
        self._say, self._fail = say, fail
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")
        self._newest: object = None  # marks the request that is still wanted

    def ask(self, work: Callable[[Report], None]) -> Future:
        """Run this next; every earlier request is outdated."""
        this = self._newest = object()
        return self._pool.submit(self._do, work, Report(self._say, lambda: self._newest is this))

    def cancel(self) -> None:
        """End the current request at its next report."""
        self._newest = None

    def _do(self, work: Callable[[Report], None], report: Report) -> None:
        try:
            if report.is_wanted():
                work(report)
        except Cancelled:
            pass
        except Exception as error:  # a traceback in a thread would reach nobody
            if report.is_wanted():
                self._fail(error)
