"""The folder of a site: its own files are replaced together or not at all, and those of others stay."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from filelock import FileLock

from gatescope.atlas.publish import listed_steps, publish, recover
from gatescope.files import sha256_of
from gatescope.formats.facts import read_json

LIST = "gatescope-site.json"  # the site's files with their hashes
WORK = ".gatescope-site"  # what a kill leaves, for the next run
BESIDE = {"CNAME"}  # what may stand in a folder that holds no site yet, beside hidden files: a domain's name


class SiteError(RuntimeError):
    """Raised where no site can be made, or written to this folder; an older one is unchanged."""


def check_folder(out: Path) -> None:
    """Raise SiteError for a folder that holds anything but a site; one that a kill left half written is put back."""
    with _locked(out):
        _site_files(out)


def replace_site(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a site's files, by their names in `out`, and remove those of an older site that are not among them.

    After a kill at any moment the next call puts back the older site first. Files that no site wrote stay; raises
    SiteError, and changes nothing, where one of them stands in the way, or a page was edited.
    """
    with _locked(out) as work:
        old = _site_files(out)
        listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        in_the_way = [name for name in listed if not _may_write(out, name, {old.get(name), listed[name]})]
        if in_the_way:
            raise SiteError(
                f"{out} has files in the way that no site wrote, or that were edited since: "
                f"{', '.join(sorted(in_the_way))}; move them, or name another folder"
            )
        ours = [name for name in old.keys() - listed.keys() if _may_write(out, name, {old[name]})]
        gone = [name for name in ours if (out / name).is_file()]
        changed = {name: content for name, content in files.items() if _digest(out / name) != listed[name]}
        # The list last: until it is written, its hashes show which files are not its own.
        changed[LIST] = json.dumps({"files": listed}, indent=1, sort_keys=True).encode() + b"\n"
        moves: dict[Path, Path | None] = {out / name: None for name in sorted(gone)}
        for name, content in changed.items():
            moves[out / name] = work / "new" / name
            moves[out / name].parent.mkdir(parents=True, exist_ok=True)
            moves[out / name].write_bytes(content)
        publish(moves, work / "undo")
        for folder in {parent for name in gone for parent in (out / name).parents if out in parent.parents}:
            if not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def _locked(out: Path) -> Iterator[Path]:
    """Keep other writers out, take back what one that was killed wrote, and yield a folder for what is on its way."""
    work, made = out / WORK, not out.exists()
    # A folder may come from others: neither it nor the rest of a killed run may lead elsewhere.
    if links := [path for path in (work, work / "lock", work / "new", work / "undo") if path.is_symlink()]:
        raise SiteError(f"{links[0]} is a link: remove it, or name another folder")
    with FileLock(work / "lock"):
        try:
            for target, *_ in listed_steps(work / "undo"):
                if not _is_own_folder(target.parent):
                    raise ValueError(f"{target.parent} leads out of {out}")
            recover(work / "undo")
        except ValueError as error:
            raise SiteError(str(error)) from error
        shutil.rmtree(work / "new", ignore_errors=True)
        try:
            yield work
        finally:
            if not (work / "undo").exists():  # else a disk failed, and the next run needs it
                shutil.rmtree(work)
            if made and not any(out.iterdir()):
                out.rmdir()


def _site_files(out: Path) -> dict[str, str]:
    """The hashes of the files of the site in `out` by their names; none where there is no site yet."""
    if not (out / LIST).exists():
        for path in sorted(out.iterdir()):
            # Empty folders are what a killed run leaves.
            empty = path.is_dir() and not any(each.is_symlink() or not each.is_dir() for each in path.rglob("*"))
            if path.name[0] != "." and path.name not in BESIDE and (path.is_symlink() or not empty):
                needed = "name another folder, or empty this one"
                raise SiteError(f"{out} holds something else than a site, such as {path.name}: {needed}")
        return {}
    try:
        files = read_json(out / LIST)["files"]
        if all(_is_inside(name) and isinstance(digest, str) for name, digest in files.items()):
            return files
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise SiteError(f"{out / LIST} is no list of a site's files: name another folder, or empty this one")


def _may_write(out: Path, name: str, known: set[str | None]) -> bool:
    """Whether nothing stands at this name, or a file with one of the `known` hashes, in the folder itself."""
    target = out / name
    if not _is_own_folder(target.parent) or target.is_symlink():
        return False
    return not target.exists() or (target.is_file() and _digest(target) in known)


def _is_own_folder(folder: Path) -> bool:
    """Whether no link leads to it: `out` is a real path."""
    return os.path.realpath(folder) == str(folder)


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts != () and "\0" not in name and not path.is_absolute() and ".." not in path.parts
