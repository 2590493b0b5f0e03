"""Progress of a training: a bar with the time left in a notebook or a terminal, else one line at the end."""

import shutil
import sys
from collections.abc import Iterable, Iterator

from IPython import get_ipython
from IPython.display import display
from tqdm import tqdm

from gatescope.trainings.tasks import Epoch


def show_progress(rows: Iterable[Epoch], num_epochs: int, label: str) -> Iterator[Epoch]:
    """Yield the rows of a training unchanged; each moves a bar of `num_epochs`, in a notebook or a terminal.

    The time left is computed from the rows' own seconds, so that epochs before a restart count as well.
    """
    # In a notebook the output is replaced in place: only the last bar remains.
    kernel = getattr(get_ipython(), "kernel", None)
    handle = display({"text/plain": label}, raw=True, display_id=True) if kernel else None
    watched = handle is None and sys.stderr.isatty()
    seconds, line = 0.0, f"{label}: no epoch"
    for count, row in enumerate(rows, start=1):
        seconds += row.seconds
        line = tqdm.format_meter(
            count,
            num_epochs,
            seconds,
            ncols=shutil.get_terminal_size().columns - 1 if watched else None,
            prefix=label,
            bar_format="{l_bar}{bar:10}| epoch {n_fmt} of {total_fmt}, {elapsed}, {remaining} left{postfix}",
            postfix=", ".join(filter(None, [f"loss {row.loss:.3f}", row.score])),
        )
        if handle:
            handle.update({"text/plain": line}, raw=True)
        elif watched:
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        yield row
    if handle is None:
        print("" if watched else line, file=sys.stderr)
