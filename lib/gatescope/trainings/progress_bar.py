"""Progress of a training: a bar with the time left in a notebook or a terminal, else one line at the end."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from gatescope.trainings.tasks import Epoch


def _output_in_notebook(text: str) -> Any:
    """Show `text` in an output that can be replaced in place; None outside a notebook."""
    if "IPython" not in sys.modules:  # which a notebook's kernel has loaded
        return None
    from IPython import get_ipython
    from IPython.display import display

    kernel = getattr(get_ipython(), "kernel", None)
    return display({"text/plain": text}, raw=True, display_id=True) if kernel else None


def show_progress(rows: Iterable[Epoch], num_epochs: int, label: str) -> Iterator[Epoch]:
    """Yield the rows of a training unchanged; each moves a bar of `num_epochs`, in a notebook or a terminal.

    The time left is computed from the rows' own seconds, so that epochs before a restart count as well.
    """
    handle = _output_in_notebook(label)
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
