"""Model cards, which say everything needed to run a model, and the registry of installed models."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from engine import tables
from engine.errors import ModelError
from engine.imageio import atomic_folder, atomic_write_bytes, read_plain, sweep
from engine.jobs import JobContext
from engine.resources import resource
from engine.runtime.model_files import cached_digest, digest, missing_file, missing_models, stamp

SHIPPED = resource("models")
_LARGEST = 16 << 20
"""Larger cards are refused, bytes. A card with a credit line for every photograph has some hundred thousand."""
LAYOUTS = ("NCHW", "NHWC", "NC", "N")
"""Orders of axes that a tensor may have: N = batch, C = channels, H = height, W = width."""

ORDERS = ("RGB", "BGR")
"""Orders of the channels that a picture may have."""


@dataclass(frozen=True)
class Port:
    """One input or output tensor of a model.

    Attributes:
        name: the tensor's name in the ONNX file.
        channels: planes.
        role: its meaning: ``picture``, ``mask``, ``edges``, ``thumbnail``, ``latent``, ``probability``, ``heat``,
            ``size``, ``offset`` (``engine.tasks.faces.decode``), or the name of a setting.
        low, high: the range of its values; pictures and maps are converted from 0..1 to it and back.
        layout: order of the axes, one of ``LAYOUTS``; pictures and maps are converted from NCHW to it and back.
        colour_space: of a picture; ``sRGB`` means the sRGB transfer curve with any primaries.
        order: of the channels of a picture, ``RGB`` or ``BGR``.
        size: fixed side in pixels (a thumbnail of the whole picture); 0 = the side of the window.
    """

    name: str
    role: str
    channels: int = 3
    low: float = 0.0
    high: float = 1.0
    layout: str = "NCHW"
    colour_space: str = "sRGB"
    size: int = 0
    order: str = "RGB"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"the layout {self.layout!r} of {self.name!r} is none of {', '.join(LAYOUTS)}")
        if self.order not in ORDERS:
            raise ValueError(f"the order {self.order!r} of {self.name!r} is none of {', '.join(ORDERS)}")
        if not self.low < self.high:
            raise ValueError(f"the values of {self.name!r} go from {self.low:g} to {self.high:g}")
        if self.channels < 1 or self.size < 0:
            raise ValueError(f"{self.name!r} has an impossible number of channels or an impossible size")


@dataclass(frozen=True)
class Stage:
    """One ONNX file of the model with its tensors."""

    file: str
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        if not _is_name(self.file):
            raise ValueError(f"it names a file outside its folder: {self.file!r}")


@dataclass(frozen=True)
class TileRules:
    """How a picture is cut into windows for the model, pixels.

    Attributes:
        default: side of the largest window, which is tried first.
        minimum: side of the smallest window that is tried when memory runs out.
        overlap: overlap of neighbouring windows.
        context: margin of surroundings that a window shows around the damage.
        multiple: height and width of a window are multiples of this.
        scale: output size over input size.
    """

    default: int
    minimum: int
    overlap: int
    context: int
    multiple: int = 1
    scale: int = 1

    def __post_init__(self) -> None:
        if (
            not 0 < self.multiple <= self.minimum <= self.default
            or self.minimum % self.multiple
            or self.default % self.multiple
        ):
            raise ValueError("tile sizes must be multiples of 'multiple' and default at least minimum")
        if self.overlap < 0 or self.context < 0 or 2 * self.overlap > self.minimum or self.scale < 1:
            raise ValueError("tile overlap, context or scale is impossible")


@dataclass(frozen=True)
class Setting:
    """An adjustable input of the model, shown as a slider."""

    name: str
    title: str
    low: float
    high: float
    default: float


@dataclass(frozen=True)
class Training:
    """How the weights were trained."""

    recipe: str = ""
    data: str = ""
    machine: str = ""
    minutes: float = 0.0
    pictures_seen: int = 0
    parameters: int = 0
    credits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """The contents of a ``card.toml``.

    Attributes:
        mask_means: the value that marks lost pixels in the model's mask: 1 or 0.
        default: whether its task uses it when no model is named and no model has the task's name.
        study: a model for comparison and further training, not for daily work; the window lists it separately.
        opset: of ONNX; 0 = not known.
        settings: adjustable inputs.
        labels: names of the planes of a probability output.
        sheet: file beside the card with samples of the model's pictures; "" = none.
        source: where a third party's model comes from: an address, an author; "" = not said.
        folder: the folder that the card was read from; not part of the file.
    """

    id: str
    task: str
    title: str
    version: str
    licence: str
    opset: int
    tile: TileRules
    stages: tuple[Stage, ...]
    summary: str = ""
    mask_means: int = 1
    default: bool = False
    study: bool = False
    settings: tuple[Setting, ...] = ()
    labels: tuple[str, ...] = ()
    sheet: str = ""
    source: str = ""
    training: Training = field(default_factory=Training)
    scores: dict[str, float] = field(default_factory=dict)
    folder: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", self.id):
            raise ValueError(f"its id {self.id[:100]!r} is impossible")
        if self.sheet and not _is_name(self.sheet):
            raise ValueError(f"it names a file outside its folder: {self.sheet!r}")
        if not self.stages:
            raise ValueError("it has no stages")
        if self.mask_means not in (0, 1):
            raise ValueError(f"mask_means is 0 or 1, not {self.mask_means}")

    def path(self, stage: Stage) -> Path:
        """The file of a stage."""
        return self.folder / stage.file

    @property
    def checksum(self) -> str:
        """One SHA-256 for the whole model: that of its only file, or of the digests of all files."""
        digests = [stage.sha256 for stage in self.stages]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of its ONNX files; those that are missing count nothing."""
        found = [path.stat().st_size for path in map(self.path, self.stages) if path.is_file()]
        return sum(found)

    @property
    def lost(self) -> ModelError | None:
        """An error that names a file that is missing; None: all are there."""
        return missing_file(self.id, [self.path(stage) for stage in self.stages])

    def verify(self, context: JobContext | None = None) -> None:
        """Compare every file with its checksum.

        Args:
            context: cancels it; with a context every byte is read again. Without one the result is cached until the
                time or the size of a file changes.

        Raises:
            ModelError: a file is missing or has another checksum.
            Cancelled: the context was cancelled.
        """
        for stage in self.stages:
            path = self.path(stage)
            try:
                actual = digest(path, context) if context is not None else cached_digest(path, *stamp(path))
            except OSError as error:
                raise ModelError(
                    "The model {model} lacks its file {part}.", "model.missing", model=self.id, part=stage.file
                ) from error
            if actual != stage.sha256:
                raise ModelError(
                    "The file {part} of the model {model} is damaged or not its card's (wrong checksum).",
                    "model.checksum",
                    part=stage.file,
                    model=self.id,
                )


def _is_name(file: str) -> bool:
    """Whether it is a file name without a folder, on any system."""
    return bool(re.fullmatch(r"[^/\\:\0]+", file)) and file not in (".", "..")


def read_card(path: Path) -> ModelCard:
    """Read a ``card.toml``. The result is cached until the file changes.

    Raises:
        ModelError: the file cannot be read, or a value is missing, unknown or impossible; names it.
    """
    try:
        return _parse_cached(path, *stamp(path))
    except OSError as error:
        raise ModelError(
            "The model card {path} cannot be read: {reason}.", "model.card", path=path, reason=error.strerror
        ) from error
    except ValueError as error:
        raise ModelError(
            "The model card {path} cannot be used: {reason}.", "model.card", path=path, reason=error
        ) from error


@cache
def _parse_cached(path: Path, _modified: int, _size: int) -> ModelCard:
    """Read and parse a card; modification time and size are only cache keys.

    Raises:
        OSError: the file cannot be read.
        ValueError: its contents cannot be used.
    """
    card = tables.from_table(ModelCard, tables.parse_toml(read_plain(path, _LARGEST)))
    return dataclasses.replace(card, folder=path.parent)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write ``card.toml`` into a folder, atomically; reading it gives the same card.

    Raises:
        WriteError: it cannot be written.
    """
    atomic_write_bytes(folder / "card.toml", tables.to_toml(dataclasses.asdict(card)).encode())


@dataclass(frozen=True)
class Entry:
    """A folder with a model.

    Attributes:
        folder: where it is.
        id: of the model; the folder's name if no card can be read, empty if the folder of all models cannot be read.
        card: its card, or None if it cannot be used.
        problem: why it cannot be used.
        added: whether the user added it, so that it can be removed.
    """

    folder: Path
    id: str
    card: ModelCard | None
    problem: ModelError | None
    added: bool = False

    @property
    def files(self) -> list[Path]:
        """The files that removing it deletes."""
        if self.folder.is_symlink():
            return [self.folder]
        return sorted(path for path in self.folder.rglob("*") if not path.is_dir())


class Registry:
    """The installed models: those that ship with the program, and those that the user added.

    Args:
        user_folder: folder of added models, created on the first addition; None = the user's data folder.
        shipped: folder of the program's own models.
        check: called with each card; raises a ModelError for a model that can never run. None = all cards that can be
            read are accepted.
    """

    def __init__(
        self,
        user_folder: Path | None = None,
        shipped: Path = SHIPPED,
        *,
        check: Callable[[ModelCard], None] | None = None,
    ) -> None:
        if user_folder is None:
            import platformdirs

            user_folder = Path(platformdirs.user_data_dir("lacuna", appauthor=False)) / "models"
        self._user_folder, self._shipped, self._check = user_folder, shipped, check

    @property
    def folders(self) -> tuple[Path, Path]:
        """The folders of the shipped and of the added models; they need not exist."""
        return self._shipped, self._user_folder

    def cards(self, task: str | None = None) -> list[ModelCard]:
        """All usable cards, or those of a task, shipped ones first. ``problems`` explains which are left out."""
        return [entry.card for entry in self.entries() if entry.card is not None and task in (None, entry.card.task)]

    def problems(self) -> list[ModelError]:
        """An error for each card that ``cards`` leaves out."""
        return [entry.problem for entry in self.entries() if entry.problem is not None]

    def card(self, id_: str) -> ModelCard:
        """The card of a model.

        Raises:
            ModelError: there is no such model, or its card cannot be used.
        """
        found = [entry for entry in self.entries() if entry.id == id_]
        for entry in sorted(found, key=lambda entry: entry.card is None):
            if entry.card is not None:
                return entry.card
            if entry.problem is not None:
                raise entry.problem
        raise self._unknown(id_)

    def default(self, task: str) -> ModelCard:
        """The model that a task uses when none is named.

        That is the model with the task's name, else one whose card has ``default``, else the first; shipped models come
        before added ones.

        Raises:
            ModelError: there is no model for this task, or the one with its name ships and is gone: another would give
                other results, which nobody asked for.
        """
        cards = self.cards(task)
        gone = missing_models(self._shipped).get(task)
        if gone is not None and not any(card.id == task for card in cards):
            raise gone
        if not cards:
            raise ModelError("No model for {task} is installed.", "model.none", task=task)
        # min returns the first of equals.
        return min(cards, key=lambda card: (card.id != task, not card.default))

    def verify(self, context: JobContext) -> Iterator[tuple[Entry, ModelError | None]]:
        """Read every file of every model and compare it with its checksum, one model after the other.

        Yields:
            A model, and what is wrong with it; None: all its files are what its card says.

        Raises:
            Cancelled: the context was cancelled.
        """
        entries = self.entries()
        for number, entry in enumerate(entries):
            context.progress(number / len(entries), entry.card.title if entry.card is not None else entry.id)
            problem = entry.problem
            if entry.card is not None:
                try:
                    entry.card.verify(context)
                except ModelError as error:
                    problem = error
            yield entry, problem
        context.progress(1.0)

    def add(self, card_file: Path) -> ModelCard:
        """Copy a third party's model, its card and the files beside it, to the user's models.

        Raises:
            ModelError: the card or a file cannot be used, or the id is taken.
        """
        return self._add(read_card(card_file), lambda folder: shutil.copyfile(card_file, folder / "card.toml"))

    def add_card(self, card: ModelCard) -> ModelCard:
        """As ``add``, with a card that is in no file yet; the model's files are in ``card.folder``."""
        return self._add(card, lambda folder: write_card(card, folder))

    def _add(self, card: ModelCard, put_card: Callable[[Path], object]) -> ModelCard:
        """Copy a model's files; ``put_card`` writes its card into the new folder."""
        if self._check is not None:
            self._check(card)
        card.verify()
        if any(entry.id == card.id for entry in self.entries()):
            raise ModelError("There is already a model {model!r}; remove it first.", "model.taken", model=card.id)
        target = self._user_folder / card.id
        try:
            self._user_folder.mkdir(parents=True, exist_ok=True)
            with atomic_folder(target) as hidden:
                for file in [*(stage.file for stage in card.stages), *([card.sheet] if card.sheet else [])]:
                    shutil.copyfile(card.folder / file, hidden / file)
                put_card(hidden)
                shutil.rmtree(target, ignore_errors=True)
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(
                "The model {model} could not be copied: {reason}.", "model.copy", model=card.id, reason=reason
            ) from error
        return read_card(target / "card.toml")

    def remove(self, id_: str) -> None:
        """Delete a model that the user added, also one whose card cannot be used.

        Raises:
            ModelError: there is no such model, it ships with the program, or it cannot be deleted.
        """
        found = [entry for entry in self.entries() if entry.id == id_]
        added = next((entry.folder for entry in found if entry.added), None)
        if added is None and found:
            raise ModelError(
                "The model {model} belongs to the program and cannot be removed.", "model.shipped", model=id_
            )
        if added is None:
            raise self._unknown(id_)
        try:
            if added.is_symlink():
                added.unlink()
            else:
                shutil.rmtree(added)
        except OSError as error:
            raise ModelError(
                "The model {model} could not be removed: {reason}.", "model.remove", model=id_, reason=error
            ) from error

    def _unknown(self, id_: str) -> ModelError:
        known = ", ".join(card.id for card in self.cards()) or "none"
        return ModelError("There is no model {model!r}. Models: {known}.", "model.unknown", model=id_, known=known)

    def entries(self) -> list[Entry]:
        """All folders of models, also those whose cards cannot be used; those that ship come first."""
        # A killed ``add`` leaves a copy of the model.
        sweep(self._user_folder)
        return [entry for place in (self._shipped, self._user_folder) for entry in self._entries(place)]

    def _entries(self, place: Path) -> Iterator[Entry]:
        added = place == self._user_folder
        try:
            names = sorted(path.name for path in place.iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            said = "The folder of models {folder} cannot be read: {reason}."
            problem = ModelError(said, "model.folder", folder=place, reason=error.strerror)
            yield Entry(place, "", None, problem)
            return
        gone = {} if added else missing_models(place)
        for name in sorted({*names, *gone}):
            path = place / name / "card.toml"
            if name in gone:
                yield Entry(path.parent, name, None, gone[name])
                continue
            with suppress(OSError):
                if not path.exists():
                    continue
            try:
                card = read_card(path)
            except ModelError as error:
                yield Entry(path.parent, name, None, error, added)
                continue
            try:
                if self._check is not None:
                    self._check(card)
                yield Entry(path.parent, card.id, card, None, added)
            except ModelError as error:
                yield Entry(path.parent, card.id, None, error, added)
