"""Opens scans and project files as documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from desktop.document.model import Document
from desktop.document.project import SUFFIX
from desktop.document.project_reader import read_project
from engine.jobs import JobContext
from engine.record import ScanFile, read_scan


def open_document(path: Path, context: JobContext | None = None) -> Document:
    """Read a scan or a project file as a document. Any thread.

    Raises:
        ReadError: it cannot be read.
        Cancelled: the context was cancelled.
    """
    stamp = file_stamp(path)
    if path.suffix.lower() == SUFFIX:
        document = open_project(path, context)
    else:
        raster, scan_file = read_scan(path, context)
        document = Document(raster)
        document.scan_file = scan_file
    document.stamp = stamp
    return document


def open_project(path: Path, context: JobContext | None = None) -> Document:
    """Read a project file as a document, whatever its suffix is. Any thread.

    Raises:
        ReadError: it cannot be read.
        Cancelled: the context was cancelled.
    """
    project = read_project(path, context)
    document = Document(project.scan)
    document.scan_file = project.scan_file or ScanFile(path)
    document.own_project, document.newer_project = project.own, project.newer
    state = dataclasses.replace(document.state, layers=project.layers, mask=project.mask, review=project.review)
    document.restore(state)
    return document


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and modification time in ns of a file; None when it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
