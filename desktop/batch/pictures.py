"""Small pictures of a batch's scans, made lazily on a thread of their own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPixmap

from desktop.panels.pictures import image_of
from desktop.work.threads import JobCentre, Lane, Ticket
from engine.batch.rows import Row, State
from engine.errors import EngineError
from engine.jobs import JobContext

THUMBNAIL = 40
"""Longest side of a thumbnail, logical pixels."""
_SIDE = 256
"""Longest side of a picture of a scan, pixels."""
_LARGEST = 256 << 20
"""Scans in larger files are shown only when their work is done, bytes: reading them takes seconds and gigabytes."""
_KEPT, _KEPT_THUMBNAILS = 40, 600
_WAITING = 60
"""Pictures that wait to be made; the oldest wishes are dropped, since their rows are no longer seen."""


@dataclass(frozen=True)
class Pair:
    """A scan and its result, small; the result is None while there is none."""

    before: QImage
    after: QImage | None


_Key = tuple[str, str, int]


class Pictures(QObject):
    """Makes and keeps the small pictures. GUI thread.

    Signals:
        made: a picture was made; carries the number of its row.
    """

    made = Signal(int)

    def __init__(self, jobs: JobCentre) -> None:
        super().__init__()
        self._jobs = jobs
        self._folder = Path()
        self._pairs: OrderedDict[_Key, Pair | None] = OrderedDict()
        self._thumbnails: OrderedDict[_Key, QPixmap] = OrderedDict()
        self._blank = QPixmap()
        self._wanted: OrderedDict[_Key, Row] = OrderedDict()
        self._making: Ticket | None = None
        self._stopped = False

    def use_folder(self, folder: Path) -> None:
        """Set the output folder, below which the pictures of results are."""
        self._folder = folder

    def stop(self) -> None:
        """Make no more."""
        self._stopped = True
        self._wanted.clear()

    def thumbnail(self, row: Row, ratio: float = 1.0) -> QPixmap:
        """The thumbnail of a row: its result if there is one, else its scan; an empty square until it is made.

        Args:
            row: the row.
            ratio: physical pixels in a logical one.
        """
        key = _key(row)
        if key in self._thumbnails:
            self._thumbnails.move_to_end(key)
            return self._thumbnails[key]
        if key not in self._pairs:
            self._want(key, row)
            if self._blank.devicePixelRatio() != ratio or self._blank.isNull():
                self._blank = _on_square(None, ratio)
            return self._blank
        pair = self._pairs[key]
        made = _on_square(None if pair is None else pair.after or pair.before, ratio)
        self._thumbnails[key] = made
        _forget_old(self._thumbnails, _KEPT_THUMBNAILS)
        return made

    def pair(self, row: Row) -> Pair | None:
        """Scan and result of a row; None if there is no picture, or it is made later."""
        key = _key(row)
        if key not in self._pairs:
            self._want(key, row)
            return None
        self._pairs.move_to_end(key)
        return self._pairs[key]

    def _want(self, key: _Key, row: Row) -> None:
        if self._stopped:
            return
        self._wanted[key] = row
        self._wanted.move_to_end(key)
        _forget_old(self._wanted, _WAITING)
        if self._making is None:
            self._next()

    def _next(self) -> None:
        self._making = None
        if self._stopped or not self._wanted:
            return
        # The latest wish first: its row is seen now.
        key, row = self._wanted.popitem()
        folder = self._folder
        ticket = self._jobs.submit(
            self.tr("Thumbnail"), Lane.THUMBNAILS, lambda: lambda context: _make(row, folder, context), shown=False
        )
        self._making = ticket
        ticket.done.connect(lambda pair: self._keep(key, row, pair))
        ticket.ended.connect(self._next)

    def _keep(self, key: _Key, row: Row, pair: Pair | None) -> None:
        self._pairs[key] = pair
        _forget_old(self._pairs, _KEPT)
        self.thumbnail(row)
        self.made.emit(row.id)


def _key(row: Row) -> _Key:
    """What a picture depends on: scan, result and their times."""
    if _has_result(row) and row.outcome is not None:
        return str(row.path), row.output, row.outcome.output_modified
    return str(row.path), "", row.modified


def _has_result(row: Row) -> bool:
    return row.state in (State.DONE, State.UP_TO_DATE)


def _forget_old(kept: OrderedDict[_Key, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def _make(row: Row, folder: Path, context: JobContext) -> Pair | None:
    """Read a scan, or the picture that was made of it and its result; None if there is nothing to show. Any thread."""
    from engine import imageio
    from engine.batch.work import preview_path
    from engine.restore import small_picture

    if _has_result(row):
        try:
            both = imageio.read(preview_path(folder, row.output), context).pixels
        except (EngineError, OSError):
            # A result of long ago, or of another program's folder: the scan is shown.
            pass
        else:
            middle = both.shape[1] // 2
            return Pair(image_of(both[:, :middle]), image_of(both[:, middle:]))
    try:
        if row.path.stat().st_size > _LARGEST:
            return None
        raster = imageio.read(row.path, context)
    except (EngineError, OSError, MemoryError):
        # Its row will say why, when its turn comes.
        return None
    return Pair(image_of(small_picture(raster.pixels, raster.profile, _SIDE)), None)


def _on_square(image: QImage | None, ratio: float) -> QPixmap:
    """A picture in the middle of a transparent square, so that the names beside thumbnails stand in one line."""
    side = round(THUMBNAIL * ratio)
    square = QPixmap(side, side)
    square.fill(Qt.GlobalColor.transparent)
    if image is not None:
        fit, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        small = image.scaled(side, side, fit, smooth)
        with QPainter(square) as painter:
            painter.drawImage((side - small.width()) // 2, (side - small.height()) // 2, small)
    square.setDevicePixelRatio(ratio)
    return square
