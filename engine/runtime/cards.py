"""Model cards: everything a program must know to run a model, and the shelf they stand on."""

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
from engine.imageio import atomic_folder, atomic_write_bytes, open_plain, read_plain, sweep
from engine.resources import resource

SHIPPED = resource("models")
_LARGEST = 16 << 20
"""Bytes of the largest card that is read: one with a line of credit for every photograph has some hundred thousand."""
LAYOUTS = ("NCHW", "NHWC", "NC", "N")
"""Orders of axes that a tensor may have: number, channels, height, width."""


@dataclass(frozen=True)
class Port:
    """One input or output tensor of a model.

    Attributes:
        name: the tensor's name in the ONNX file.
        channels: planes.
        role: what it carries: ``picture``, ``mask``, ``edges``, ``thumbnail``, ``latent``, ``probability``, or the name
            of a setting.
        low, high: the range of its values; pictures and maps are brought into it and back.
        layout: order of the axes, one of ``LAYOUTS``; likewise.
        colour_space: of a picture; ``sRGB`` means the sRGB curve whatever the primaries.
        size: side in pixels where it does not follow the window (a thumbnail of the whole picture); 0 = it does.
    """

    name: str
    role: str
    channels: int = 3
    low: float = 0.0
    high: float = 1.0
    layout: str = "NCHW"
    colour_space: str = "sRGB"
    size: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"the layout {self.layout!r} of {self.name!r} is none of {', '.join(LAYOUTS)}")
        if not self.low < self.high:
            raise ValueError(f"the values of {self.name!r} go from {self.low:g} to {self.high:g}")
        if self.channels < 1 or self.size < 0:
            raise ValueError(f"{self.name!r} has an impossible number of channels or an impossible size")


@dataclass(frozen=True)
class Stage:
    """One file of the model with its tensors."""

    file: str
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        if not _is_name(self.file):
            raise ValueError(f"it names a file outside its folder: {self.file!r}")


@dataclass(frozen=True)
class TileRules:
    """How a picture is cut for the model, pixels.

    Attributes:
        default: largest window that is tried first.
        minimum: smallest window worth trying when memory runs out.
        overlap: what neighbouring windows share.
        context: how much of the surroundings a window shows around the damage.
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
    """Where the weights come from."""

    recipe: str = ""
    data: str = ""
    machine: str = ""
    minutes: float = 0.0
    pictures_seen: int = 0
    parameters: int = 0
    credits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """What ``card.toml`` says.

    Attributes:
        mask_means: the value of the mask that marks what is lost: 1 or 0.
        default: whether its task takes it when no model is named and none has the task's own name.
        study: made to compare and to train further, not for daily work; the window lists it apart.
        settings: adjustable inputs.
        labels: names of the planes of a probability output.
        sheet: file beside the card that shows samples of what the model can make; "" = none.
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
        """One digest of the whole model: that of its only file, or of all files' digests."""
        digests = [stage.sha256 for stage in self.stages]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def verify(self) -> None:
        """Compare every file with its checksum (once per file and change; later calls are free).

        Raises:
            ModelError: a file is missing or is not the one the card was written for.
        """
        for stage in self.stages:
            path = self.path(stage)
            try:
                status = path.stat()
                actual = _digest(path, status.st_mtime_ns, status.st_size)
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
    """Whether it is the plain name of a file, wherever that is to be copied to."""
    return bool(re.fullmatch(r"[^/\\:\0]+", file)) and file not in (".", "..")


@cache
def _digest(path: Path, _modified: int, _size: int) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> ModelCard:
    """Read a ``card.toml`` (once per file and change; later calls are free).

    Raises:
        ModelError: the file cannot be read, or a value is missing, unknown or impossible (named).
    """
    try:
        status = path.stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise ModelError(
            "The model card {path} cannot be read: {reason}.", "model.card", path=path, reason=error.strerror
        ) from error
    except ValueError as error:
        raise ModelError(
            "The model card {path} cannot be used: {reason}.", "model.card", path=path, reason=error
        ) from error


@cache
def _parsed(path: Path, _modified: int, _size: int) -> ModelCard:
    """A card from its file.

    Raises:
        OSError, ValueError: it cannot be read, or not be used.
    """
    card = tables.from_table(ModelCard, tables.parse_toml(read_plain(path, _LARGEST)))
    return dataclasses.replace(card, folder=path.parent)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write ``card.toml`` into a folder, atomically; reading it gives the same card.

    Raises:
        WriteError: it cannot be written.
    """
    atomic_write_bytes(folder / "card.toml", tables.to_toml(dataclasses.asdict(card)).encode())


class Registry:
    """The models that are at hand: those that ship, and the ones a user added.

    Args:
        user_folder: where added models live; made on the first addition.
        shipped: where the program's own models live.
        check: refuses a card whose model could never run, by a ModelError; None = every card that can be read will do.
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

    def cards(self, task: str | None = None) -> list[ModelCard]:
        """All usable cards (of a task), shipped ones first. ``problems`` names those that are left out."""
        return [shelf.card for shelf in self._read() if shelf.card is not None and task in (None, shelf.card.task)]

    def problems(self) -> list[ModelError]:
        """What is wrong with the cards that ``cards`` leaves out."""
        return [shelf.problem for shelf in self._read() if shelf.problem is not None]

    def card(self, id_: str) -> ModelCard:
        """The card of a model.

        Raises:
            ModelError: there is no such model, or its card cannot be used.
        """
        found = [shelf for shelf in self._read() if shelf.id == id_]
        for shelf in sorted(found, key=lambda shelf: shelf.card is None):
            if shelf.card is not None:
                return shelf.card
            if shelf.problem is not None:
                raise shelf.problem
        raise self._unknown(id_)

    def default(self, task: str) -> ModelCard:
        """The model a task uses when none is named: that of the task's own name, else one whose card says so.

        Shipped ones come before added ones, and the first of all is taken when no card says so.

        Raises:
            ModelError: no model does this task.
        """
        cards = self.cards(task)
        if not cards:
            raise ModelError("No model for {task} is installed.", "model.none", task=task)
        # Of equals the first is taken.
        return min(cards, key=lambda card: (card.id != task, not card.default))

    def add(self, card_file: Path) -> ModelCard:
        """Copy a third party's model (its card and the files beside it) to the user's models.

        Raises:
            ModelError: the card or a file cannot be used, or the id is taken.
        """
        card = read_card(card_file)
        if self._check is not None:
            self._check(card)
        card.verify()
        if any(shelf.id == card.id for shelf in self._read()):
            raise ModelError("There is already a model {model!r}; remove it first.", "model.taken", model=card.id)
        target = self._user_folder / card.id
        try:
            self._user_folder.mkdir(parents=True, exist_ok=True)
            with atomic_folder(target) as hidden:
                for file in [*(stage.file for stage in card.stages), *([card.sheet] if card.sheet else [])]:
                    shutil.copyfile(card.folder / file, hidden / file)
                shutil.copyfile(card_file, hidden / "card.toml")
                shutil.rmtree(target, ignore_errors=True)
        except OSError as error:
            raise ModelError(
                "The model {model} could not be copied: {reason}.", "model.copy", model=card.id, reason=error
            ) from error
        return read_card(target / "card.toml")

    def remove(self, id_: str) -> None:
        """Delete a model that the user added, also one whose card cannot be used.

        Raises:
            ModelError: there is no such model, or it belongs to the program.
        """
        found = [shelf.folder for shelf in self._read() if shelf.id == id_]
        added = next((folder for folder in found if folder.parent == self._user_folder), None)
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

    def _read(self) -> list[_Shelf]:
        # An addition that was killed leaves as much as a whole model.
        sweep(self._user_folder)
        return [shelf for place in (self._shipped, self._user_folder) for shelf in self._shelves(place)]

    def _shelves(self, place: Path) -> Iterator[_Shelf]:
        try:
            names = sorted(path.name for path in place.iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            said = "The folder of models {folder} cannot be read: {reason}."
            problem = ModelError(said, "model.folder", folder=place, reason=error.strerror)
            yield _Shelf(place, "", None, problem)
            return
        for name in names:
            path = place / name / "card.toml"
            with suppress(OSError):
                if not path.exists():
                    continue
            try:
                card = read_card(path)
            except ModelError as error:
                yield _Shelf(path.parent, name, None, error)
                continue
            try:
                if self._check is not None:
                    self._check(card)
                yield _Shelf(path.parent, card.id, card, None)
            except ModelError as error:
                yield _Shelf(path.parent, card.id, None, error)


@dataclass(frozen=True)
class _Shelf:
    """A folder with a model: its card, or what is wrong with it. Where no card can be read its name is the id."""

    folder: Path
    id: str
    card: ModelCard | None
    problem: ModelError | None
