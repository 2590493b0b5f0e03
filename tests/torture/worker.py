"""Reads spoilt files when told to, in a process that may hang, crash or fill its memory; one JSON line for each."""

import json
import resource
import sys
import time
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from readers import READERS, digest  # noqa: E402, found by the path above

MOST_DATA = 6 << 30  # bytes: above what is allowed, below what would harm the machine


def peak_bytes() -> int:
    """The most memory that was resident since the last call."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) * 1024


def main() -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a reader prints is no answer
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        reader, folder = READERS[asked["reader"]], Path(asked["folder"])
        if asked["make"]:
            reader.make(folder)
        peak_bytes()
        start, found = time.process_time(), {"digest": "", "error": ""}
        try:
            result = reader.read(folder)
            found["digest"] = digest(result) if reader.promises else ""
        except reader.errors() as error:
            found["error"] = type(error).__name__
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            found["untyped"] = f"{type(error).__name__} at {where}: {str(error)[:200]}"
        found |= {"seconds": time.process_time() - start, "peak": peak_bytes()}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
