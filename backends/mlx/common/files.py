"""Files that are mapped to be read; files and folders that appear whole, or not at all."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def map_regular(path: Path, error: Callable[[str, str], Exception]) -> mmap.mmap:
    """Maps a regular file of at least one byte for reading.

    A pipe or a device is refused before it can block.

    Raises:
        error(expected, found): the path names no such file, or it cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a directory" if stat.S_ISDIR(status.st_mode) else "another kind of file"
            raise error("a regular file", found)
        if status.st_size == 0:
            raise error("a file with contents", "an empty file")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as reason:
        raise error("a readable file", reason.strerror or str(reason)) from None


@contextlib.contextmanager
def written_whole(path: Path, permissions: int = 0o644) -> Iterator[Path]:
    """Yields a path beside `path` to write to; the file there takes its place in the end.

    After an error there is no new file, and one that was at `path` before is as it was. Two
    processes may write the same path at once.

    Raises:
        OSError: it cannot be written. The error names `path`, not the file beside it.
    """
    prefix = f".{path.name}."
    partial = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
        os.close(handle)
        partial = Path(name)
        yield partial
        partial.chmod(permissions)
        partial.replace(path)
    except OSError as error:
        name = prefix if error.filename is None else Path(str(error.filename)).name
        if error.errno is not None and name.startswith(prefix):
            error.filename = str(path)
        raise
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yields a folder beside `path` to fill; it takes that name in the end.

    Where another process was faster, its folder stays. After an error there is none.

    Raises:
        OSError: the folder of `path` cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
