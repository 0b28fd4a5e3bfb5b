"""Collects the pictures of files and folders that are given to a batch."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from engine.batch.folders import folder_names, given_paths, identity_of
from engine.errors import ReadError
from engine.imageio import READABLE
from engine.record import REPORT_FOLDER, SUFFIX

_JUNK = re.compile(r"\..*|thumbs\.db|desktop\.ini|ehthumbs\.db|icon\r", re.IGNORECASE)
"""Names of files that systems leave in folders. Those that begin with a dot are hidden, ``._`` ones are of macOS."""
_JUNK_FOLDERS = re.compile(r"\..*|__MACOSX|@eaDir|\$RECYCLE\.BIN|System Volume Information|" + REPORT_FOLDER)


@dataclass(frozen=True)
class Scan:
    """A picture file that was found.

    Attributes:
        path: its real path, without links, by which it is known however it was given.
        relative: its path below what was given, which its output mirrors; with the folder's own name in front if
            several folders were given.
        root: the folder that was given, or that of the file that was given.
        size: bytes.
        modified: nanoseconds since 1970.
        inside: path of the folder in which it was found below ``root``; through links as they are.
    """

    path: Path
    relative: PurePosixPath
    root: Path
    size: int
    modified: int
    inside: PurePosixPath = field(default_factory=PurePosixPath)

    @property
    def folder(self) -> Path:
        """The folder in which it was found, by the path that leads there from what was given."""
        return self.root / self.inside


@dataclass
class Gathered:
    """Counts what ``gather`` leaves out.

    Attributes:
        ignored: reason -> number of files: ``junk``, ``no picture``, ``output`` (a file with a record beside it, or
            below the output folder), ``twice``, ``unreadable``.
    """

    ignored: Counter[str] = field(default_factory=Counter)


def gather(
    inputs: Sequence[Path],
    output: Path | None,
    left_out: Gathered,
    beside: str = "",
    names: Mapping[Path, str] | None = None,
) -> Iterator[Scan]:
    """The pictures of files and folders, in the order given, within a folder sorted by name. Reads no picture.

    A file that was given by name is taken whatever it is called. In folders, which are read to the bottom, only names
    of readable formats count, and results of this program are left out. Links are followed, each folder once.

    Args:
        inputs: files and folders.
        output: the batch's output folder, which is left out below a folder; None = it is not known.
        left_out: counts the files that are left out.
        beside: name of the subfolders for results, which are left out below a folder; "" = there are none.
        names: folders of the inputs -> what stands before the paths of their scans; None = nothing for a single folder,
            else the names of the folders, each different.

    Raises:
        ReadError: one of the inputs does not exist, is neither a file nor a folder, or is on a share that is gone.
    """
    given = given_paths(inputs)
    is_folder = {path: _is_folder(path) for path in given}
    prefixes = folder_names([path for path in given if is_folder[path]]) | dict(names or {})
    avoided = identity_of(output) if output is not None else None
    # Strings, because Python's garbage collection stops all threads to walk through hundreds of thousands of paths.
    seen, entered = set[str](), set[tuple[int, int]]()

    def is_output(place: Path) -> bool:
        return (avoided is not None and identity_of(place) == avoided) or (beside != "" and place.name == beside)

    for path in given:
        found = _walk(path, prefixes[path], is_output, entered, left_out) if is_folder[path] else _file(path, left_out)
        for scan in found:
            if str(scan.path) in seen:
                left_out.ignored["twice"] += 1
            else:
                seen.add(str(scan.path))
                yield scan


def _is_folder(path: Path) -> bool:
    """Whether an input is a folder, and not a file. Raises ReadError if it is neither, or cannot be reached."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        reason = "it does not exist"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            return stat.S_ISDIR(mode)
        reason = "it is neither a file nor a folder"
    raise ReadError("{path} cannot be taken: {reason}.", "batch.input", path=path, reason=reason)


def _file(path: Path, left_out: Gathered) -> Iterator[Scan]:
    try:
        status = path.stat()
    except OSError:
        left_out.ignored["unreadable"] += 1
        return
    real = Path(os.path.realpath(path))
    yield Scan(real, PurePosixPath(path.name), path.parent, status.st_size, status.st_mtime_ns)


def _walk(
    folder: Path,
    name: str,
    is_output: Callable[[Path], bool],
    entered: set[tuple[int, int]],
    left_out: Gathered,
) -> Iterator[Scan]:
    """The pictures below a folder, without those in folders that were entered already or are for results."""

    def failed(_error: OSError) -> None:
        left_out.ignored["unreadable"] += 1

    for place, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        identity = identity_of(Path(place))
        if identity in entered:
            # A link, or another input, led here a second time.
            left_out.ignored["twice"] += len(files)
            folders.clear()
            continue
        if identity is not None:
            entered.add(identity)
        if Path(place) != folder and is_output(Path(place)):
            left_out.ignored["output"] += len(files)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not _JUNK_FOLDERS.fullmatch(name))
        inside = PurePosixPath(Path(place).relative_to(folder).as_posix())
        yield from _pictures(folder, inside, sorted(files), name, left_out)


def _pictures(root: Path, inside: PurePosixPath, files: list[str], name: str, left_out: Gathered) -> Iterator[Scan]:
    """The pictures of one folder."""
    place, relative = root / inside, PurePosixPath(name, inside)
    present, real = set(files), Path(os.path.realpath(place))
    for file in files:
        if _JUNK.fullmatch(file):
            left_out.ignored["junk"] += 1
        elif file.endswith(SUFFIX) or file + SUFFIX in present:
            left_out.ignored["output"] += 1
        elif Path(file).suffix.lower() not in READABLE:
            left_out.ignored["no picture"] += 1
        else:
            try:
                status = (place / file).stat()
            except OSError:
                left_out.ignored["unreadable"] += 1
                continue
            linked = os.path.islink(place / file)  # noqa: PTH114 - Path.is_symlink raises where a share is gone
            path = Path(os.path.realpath(place / file)) if linked else real / file
            yield Scan(path, relative / file, root, status.st_size, status.st_mtime_ns, inside)
