"""An extension of the kernel that runs a notebook: it writes down what fails beside the cells, which do not notice.

These are threads that die, jobs of a pool and asyncio's tasks whose error nobody asked for, tasks that nobody waited
for, and errors that Python ignores, as in a finalizer.
"""

import asyncio
import atexit
import gc
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gatescope.paths import FINISHED, RUN_FIGURES

FAILURES = "failures.jsonl"  # in the working folder, empty where nothing failed: a cell's count, and what happened
NAME = __name__  # for whoever starts the kernel
ASKED = "asked for its result"  # a mark of a pool's job


def load_ipython_extension(shell: Any) -> None:
    """Watch from here on."""
    folder = Path.cwd()  # a cell may leave it
    (folder / FAILURES).touch()

    def note(what: str, error: BaseException | None, *files: str) -> None:
        """Write down what happened in the first cell that stands for one of the files, else in the one that runs."""
        files += tuple(frame.filename for frame in traceback.extract_tb(error and error.__traceback__))
        named = next(filter(None, map(shell.compile.format_code_name, files)), None)  # ("Cell", "In[3]")
        count = int(named[1].strip("In[]")) if named else shell.execution_count
        ended = f" ended in {''.join(traceback.format_exception_only(error)).strip()}" if error else ""
        with (folder / FAILURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps([count, what + ended]) + "\n")

    def of_thread(args: Any) -> None:
        if args.exc_type is not SystemExit:
            note(f"the thread {args.thread and args.thread.name}", args.exc_value)
        threading.__excepthook__(args)

    def ignored(args: Any) -> None:
        note(f"{args.err_msg or 'Exception ignored in'} {args.object!r:.200}, which", args.exc_value)
        sys.__unraisablehook__(args)

    class OfAsyncio(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                note(f"asyncio, {record.getMessage().splitlines()[0]}, which", record.exc_info[1])

    def at_the_end(_: Any) -> None:
        if not (folder / RUN_FIGURES / FINISHED).exists():
            return
        for each in [each for each in gc.get_objects() if type(each) in (asyncio.Task, asyncio.Future, Future)]:
            code = getattr(each.get_coro(), "cr_code", None) if isinstance(each, asyncio.Task) else None
            unasked = not vars(each).get(ASKED) if isinstance(each, Future) else each._log_traceback
            if each.done() and not each.cancelled() and unasked and each.exception():
                note(f"{each!r:.200}, whose result nobody asked for,", each.exception())
            elif not each.done() and code and shell.compile.format_code_name(code.co_filename):
                note(f"the task of {code.co_name}() was not waited for", None, code.co_filename)

    threading.excepthook, sys.unraisablehook = of_thread, ignored
    atexit.register(setattr, sys, "unraisablehook", sys.__unraisablehook__)  # what an interpreter's end brings
    logging.getLogger("asyncio").addHandler(OfAsyncio(logging.ERROR))
    Future.result, Future.exception = _marking(Future.result), _marking(Future.exception)
    shell.events.register("post_run_cell", at_the_end)


def _marking(method: Callable) -> Callable:
    def marked(job: Future, *args: Any, **named: Any) -> Any:
        setattr(job, ASKED, True)
        return method(job, *args, **named)

    return marked
