"""Third parties' models without a card: what an ONNX file says of itself, the card that it gets, and a trial of it.

A card says more than a file: ranges of values, the order of the channels, what a mask means. A person answers that.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from engine import imageio
from engine.colour import to_screen
from engine.errors import ModelError, Words
from engine.jobs import JobContext
from engine.raster import ArrayMask, ArraySource, Mask, MaskSource, Pixels, PixelSource, Rect
from engine.runtime.cards import ModelCard, Port, Registry, Stage, TileRules
from engine.runtime.session import Device, Tensor, read_tensors
from engine.tasks import TASKS, TaskInput, check_card, make_settings, run_trial

_LARGEST = (1 << 31) - 1
"""Most bytes of an ONNX file, a limit of its format."""
_WINDOW, _SMALLEST, _AROUND = 512, 128, 32
"""Side of the largest and of the smallest window of a model that takes any, and what windows share; pixels."""
_NARROWEST = 16
"""An axis that is shorter is not the height or width of pictures, but their channels."""
_CROP, _CROP_TO_ENLARGE = 384, 192
"""Largest side of the picture of a trial, pixels."""
_RED = np.array([230, 40, 40], np.float32)
SCALES = (2, 3, 4, 8)
"""How many times a model may enlarge."""
_RESULTS = ("float", "float16", "double")


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file that can be used for some task.

    Attributes:
        path: where it is.
        sha256: of its contents.
        inputs, outputs: its tensors.
    """

    path: Path
    sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it can be used for, the likeliest first."""
        candidates = ("heal",) if len(self.inputs) == 2 else ("clean", "tone", "upscale", "detect")
        return tuple(task for task in candidates if self.results(task))

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """Names of the inputs that can be the picture, the likeliest first; of two inputs the other is the mask."""
        fitting = [
            tensor.name
            for tensor in self.inputs
            if _layouts(tensor, 3) and all(_layouts(other, 1) for other in self.inputs if other is not tensor)
        ]
        return tuple(sorted(fitting, key=lambda name: "mask" in name.lower()))

    @cached_property
    def layouts(self) -> tuple[str, ...]:
        """The orders of axes that its picture can have, the likeliest first."""
        return _layouts(self._tensor(self.pictures[0]), 3)

    @property
    def side(self) -> int:
        """Pixels a side of the only window that it takes; 0 = it takes windows of several sizes."""
        return _sides(self._tensor(self.pictures[0]), self.layouts[0])[0] or 0

    def results(self, task: str) -> tuple[str, ...]:
        """Names of the outputs that can be the result of a task."""
        return tuple(tensor.name for tensor in self.outputs if self._gives(tensor, task))

    def planes(self, name: str) -> int:
        """Channels of an output; 0 = the file does not say."""
        shape = self._tensor(name).shape
        return shape[self.layouts[0].index("C")] or 0

    def scale(self, name: str) -> int:
        """How many times an output is as large as the picture; 0 = the file does not say."""
        side = _sides(self._tensor(name), self.layouts[0])[0]
        return side // self.side if side and self.side else 0

    def _tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in (*self.inputs, *self.outputs) if tensor.name == name)

    def _gives(self, tensor: Tensor, task: str) -> bool:
        if tensor.type not in _RESULTS or len(tensor.shape) != 4:
            return False
        height, width = _sides(tensor, self.layouts[0])
        scale = height / self.side if height and self.side else 0
        if height != width or scale != int(scale):
            return False
        if task == "detect":
            return self.planes(tensor.name) > 0 and scale in (0, 1)
        return bool(_layouts(tensor, 3)) and (scale in (0, *SCALES) if task == "upscale" else scale in (0, 1))


def read_model(path: Path, context: JobContext | None = None) -> ModelFile:
    """Read what an ONNX file says of its inputs and outputs. Any thread; takes as long as loading it.

    Args:
        path: the file.
        context: cancellation, but not while the file is being loaded.

    Raises:
        ModelError: it can never run here without a card that is written by hand; says what does not fit.
        OutOfMemory: the memory is not enough to load it.
        Cancelled: the context was cancelled.
    """
    used = context or JobContext()
    used.progress(0.0, "reading the file")
    try:
        data = imageio.read_plain(path, _LARGEST)
    except OSError as error:
        said = "{file} cannot be read: {reason}."
        raise ModelError(said, "model.read", file=path.name, reason=error.strerror or error) from error
    used.progress(0.3, "loading the model")
    try:
        inputs, outputs = read_tensors(data)
    except ModelError as error:
        raise ModelError("{file} cannot be used. {reason}", error.code, file=path.name, reason=error) from error
    used.check()
    found = ModelFile(path, hashlib.sha256(data).hexdigest(), inputs, outputs)
    reason = _unfit_inputs(found) or _unfit_outputs(found)
    if reason is not None:
        raise ModelError("{file} cannot be used: {reason}.", "model.unfit", file=path.name, reason=reason)
    used.progress(1.0)
    return found


def _unfit_inputs(file: ModelFile) -> Words | None:
    """Why no task can use the inputs of a file; None if one can."""
    names = ", ".join(tensor.name for tensor in file.inputs)
    if len(file.inputs) not in (1, 2):
        said = "it has {count} inputs ({names}); one picture is wanted, or a picture and a mask"
        return Words(said, count=len(file.inputs), names=names or "-")
    for tensor in file.inputs:
        if tensor.type != "float":
            said = "its input {name!r} takes numbers of the type {type}; decimal numbers of 32 bits are wanted"
            return Words(said, name=tensor.name, type=tensor.type)
        if reason := _unfit_shape(tensor, Words("its input {name!r}", name=tensor.name)):
            return reason
    if not file.pictures:
        shapes = " and ".join(f"{tensor.name} {_shape_words(tensor)}" for tensor in file.inputs)
        said = "a picture of 3 channels is wanted as its input, and a mask of 1 channel as its second, not {shapes}"
        return Words(said, shapes=shapes)
    picture = file.pictures[0]
    planes = ((tensor, 3 if tensor.name == picture else 1) for tensor in file.inputs)
    sides = [_sides(tensor, _layouts(tensor, count)[0]) for tensor, count in planes]
    if any(height != width for height, width in sides):
        height, width = next((height, width) for height, width in sides if height != width)
        said = "it takes only pictures of {width} x {height} pixels; windows are square, or of any size"
        return Words(said, width=width or "any", height=height or "any")
    if len(set(sides)) > 1:
        return Words("its mask is not as large as its picture")
    return None


def _unfit_outputs(file: ModelFile) -> Words | None:
    """Why no task can use the outputs of a file with fitting inputs; None if one can."""
    if file.tasks:
        return None
    for tensor in file.outputs:
        if tensor.type not in _RESULTS:
            said = "its output {name!r} gives numbers of the type {type}; decimal numbers are wanted"
            return Words(said, name=tensor.name, type=tensor.type)
        if reason := _unfit_shape(tensor, Words("its output {name!r}", name=tensor.name)):
            return reason
    made = " and ".join(f"{tensor.name} {_shape_words(tensor)}" for tensor in file.outputs)
    said = (
        "for an input of {shape} it gives {made}; a picture is wanted of the same size or 2, 3, 4 or 8 times as large"
    )
    return Words(said, shape=_shape_words(file.inputs[0]), made=made or "nothing")


def _unfit_shape(tensor: Tensor, what: Words) -> Words | None:
    """Why a tensor is no picture or map; None if it can be one."""
    if not tensor.shape:
        return Words("{what} does not say how many axes it has", what=what)
    if len(tensor.shape) != 4:
        return Words("{what} has {axes} axes; pictures have 4", what=what, axes=len(tensor.shape))
    if tensor.shape[0] not in (None, 1):
        return Words("{what} holds {count} pictures at a time; one is wanted", what=what, count=tensor.shape[0])
    return None


def _layouts(tensor: Tensor, planes: int) -> tuple[str, ...]:
    """The orders of axes with which a tensor can have this number of channels, the likeliest first."""
    _, first, _, last = tensor.shape
    if first == planes:
        return ("NCHW",)
    if last == planes:
        return ("NHWC",)
    orders = (("NCHW", first, last), ("NHWC", last, first))
    return tuple(layout for layout, channels, side in orders if channels is None and (side or _NARROWEST) >= _NARROWEST)


def _sides(tensor: Tensor, layout: str) -> tuple[int | None, int | None]:
    """Height and width of a tensor; None = any."""
    return tensor.shape[layout.index("H")], tensor.shape[layout.index("W")]


def _shape_words(tensor: Tensor) -> str:
    """For instance ``1 x 3 x any x any``."""
    return " x ".join("any" if side is None else str(side) for side in tensor.shape) or "unknown shape"


@dataclass(frozen=True)
class Answers:
    """What a person says of a model file.

    Attributes:
        task: one of the file's ``tasks``.
        title: for people.
        licence: for instance ``MIT``.
        source: where it comes from.
        summary: what it is for, in a sentence.
        picture: name of the input that is the picture; of two inputs the other is the mask.
        result: name of the output that is used.
        layout: order of the axes, where the file leaves it open.
        order: of the channels of pictures, ``RGB`` or ``BGR``.
        takes, gives: least and largest value of the picture that goes in and of the result.
        mask_high: largest value of the mask; the least is 0.
        mask_means: whether its largest (1) or its least value (0) marks what is lost.
        multiple: sides of windows are multiples of this, for a file that takes any size.
        scale: how many times it enlarges.
        labels: names of the classes of damage, for each channel of a search's result.
    """

    task: str
    title: str
    licence: str
    source: str
    summary: str
    picture: str
    result: str
    layout: str = "NCHW"
    order: str = "RGB"
    takes: tuple[float, float] = (0.0, 1.0)
    gives: tuple[float, float] = (0.0, 1.0)
    mask_high: float = 1.0
    mask_means: int = 1
    multiple: int = 8
    scale: int = 1
    labels: tuple[str, ...] = ()


def card_of(file: ModelFile, answers: Answers, registry: Registry) -> ModelCard:
    """The card of a file, with the file's folder as its own; ``Registry.add_card`` installs it.

    Raises:
        ModelError: an answer is missing or does not fit; says which.
    """
    if not answers.title.strip() or not answers.licence.strip():
        raise ModelError("A title and a licence are wanted: what is not known can be called unknown.", "model.words")
    entries = registry.entries()
    if any(entry.card is not None and entry.card.title == answers.title.strip() for entry in entries):
        raise ModelError("There is already a model with the title {title}.", "model.title", title=answers.title.strip())
    id_ = _free_id(answers.title, (*TASKS, *(entry.id for entry in entries)))
    try:
        stage = Stage(file.path.name, file.sha256, _input_ports(file, answers), (_result_port(file, answers),))
        card = ModelCard(
            id_,
            answers.task,
            answers.title.strip(),
            "1",
            answers.licence.strip(),
            0,
            _tile_rules(file, answers),
            (stage,),
            summary=answers.summary.strip(),
            mask_means=answers.mask_means,
            labels=answers.labels,
            source=answers.source.strip(),
            folder=file.path.parent,
        )
    except ValueError as error:
        raise ModelError(
            "The model {file} cannot be used: {reason}.", "model.card", file=file.path.name, reason=error
        ) from error
    check_card(card)
    return card


def _free_id(title: str, taken: Iterable[str]) -> str:
    """An id made of a title. No task's name: a model of that name would become the task's default."""
    word = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60] or "model"
    names = (word, *(f"{word}_{number}" for number in range(2, 10_000)))
    return next(name for name in names if name not in set(taken))


def _input_ports(file: ModelFile, answers: Answers) -> tuple[Port, ...]:
    ports = []
    for tensor in file.inputs:
        is_picture = tensor.name == answers.picture
        layout = _layout_of(tensor, 3 if is_picture else 1, answers)
        if is_picture:
            low, high = answers.takes
            ports.append(Port(tensor.name, "picture", 3, low, high, layout, order=answers.order))
        else:
            ports.append(Port(tensor.name, "mask", 1, 0.0, answers.mask_high, layout))
    return tuple(ports)


def _result_port(file: ModelFile, answers: Answers) -> Port:
    tensor = next(tensor for tensor in file.outputs if tensor.name == answers.result)
    low, high = answers.gives
    if answers.task == "detect":
        return Port(tensor.name, "probability", file.planes(tensor.name), low, high, answers.layout)
    return Port(tensor.name, "picture", 3, low, high, _layout_of(tensor, 3, answers), order=answers.order)


def _layout_of(tensor: Tensor, planes: int, answers: Answers) -> str:
    """The order of axes: what a person said, unless the file allows only another."""
    possible = _layouts(tensor, planes)
    return answers.layout if answers.layout in possible else possible[0]


def _tile_rules(file: ModelFile, answers: Answers) -> TileRules:
    """Windows: of the file's only size, or of several."""
    if file.side:
        around = min(_AROUND, file.side // 4)
        return TileRules(file.side, file.side, around, around, file.side, answers.scale)
    multiple = answers.multiple
    largest, smallest = (max(1, side // multiple) * multiple for side in (_WINDOW, _SMALLEST))
    around = min(_AROUND, smallest // 4)
    return TileRules(largest, smallest, around, around, multiple, answers.scale)


@dataclass(frozen=True)
class Scan:
    """A picture for trials.

    Attributes:
        source: the picture.
        profile: its ICC profile.
        mask: its repair mask; None = there is none.
        centre: x and y of what is tried, pixels.
    """

    source: PixelSource
    profile: bytes | None
    mask: MaskSource | None
    centre: tuple[float, float]


@dataclass(frozen=True)
class Shown:
    """The result of a trial.

    Attributes:
        before, after: for the screen, uint8 (h, w, 3); what is masked or was found is red.
        seconds: that the run took, with loading the model.
        device: where it ran.
        changed: share of the picture that is another than before, 0..1; for a search the share that it marks.
    """

    before: Pixels
    after: Pixels
    seconds: float
    device: Device
    changed: float


def try_on(card: ModelCard, scan: Scan, device: Device, context: JobContext) -> Shown:
    """Run a model on a part of a picture, as it would run on the whole of it. Any thread.

    The part is as wide and high as an odd number of the multiples that its card names, so that a wrong one shows.

    Raises:
        ModelError: the run failed; says why.
        Cancelled: the context was cancelled.
    """
    area = _crop(card, scan)
    pixels = scan.source.read(area)
    mask = _hole(scan, area) if TASKS[card.task].wants_mask else None
    settings = make_settings(card.task, card, {})
    given_mask = ArrayMask(mask) if mask is not None else None
    given = TaskInput(card.task, ArraySource(pixels), scan.profile, given_mask, settings, card, device)
    start = time.perf_counter()
    result = run_trial(given, context)
    seconds = time.perf_counter() - start
    before = to_screen(pixels, scan.profile)
    if TASKS[card.task].gives == "findings":
        marked = result.marks(settings, context).mask()
        return Shown(before, _veiled(before, marked), seconds, result.device, np.count_nonzero(marked) / marked.size)
    after = result.pixels if card.task == "upscale" else result.apply_to(pixels)
    changed = 1.0 if card.task == "upscale" else float((after != pixels).any(axis=2).mean())
    veiled = _veiled(before, mask) if mask is not None else before
    return Shown(veiled, to_screen(after, scan.profile), seconds, result.device, changed)


def _crop(card: ModelCard, scan: Scan) -> Rect:
    """The part of a picture that is tried, around its centre as far as the picture reaches."""
    height, width = scan.source.shape[:2]
    multiple, most = card.tile.multiple, _CROP if card.tile.scale == 1 else _CROP_TO_ENLARGE
    times = max(1, min(most, height, width) // multiple)
    side = multiple * (times - 1 + times % 2)
    left, top = (
        round(min(max(0, place - side / 2), max(0, length - side)))
        for place, length in zip(scan.centre, (width, height), strict=True)
    )
    return Rect(left, top, left + side, top + side) & Rect(0, 0, width, height)


def _hole(scan: Scan, area: Rect) -> Mask:
    """What is masked in a part of a picture; where nothing is, a scratch and a spot."""
    if scan.mask is not None:
        painted = scan.mask.read_mask(area)
        if 0 < np.count_nonzero(painted) < painted.size / 2:
            return np.array(painted)
    y, x = np.mgrid[0 : area.height, 0 : area.width]
    short = min(area.height, area.width)
    scratch = np.abs(x - area.width * 0.3 - y * 0.2) < max(1, short / 100)
    spot = np.hypot(x - area.width * 0.65, y - area.height * 0.5) < max(1, short / 24)
    return np.where(scratch | spot, np.uint8(255), np.uint8(0))


def _veiled(shown: Pixels, mask: Mask) -> Pixels:
    """A picture with a half transparent red where a mask is set."""
    share = (mask > 0)[..., None] * np.float32(0.55)
    return np.asarray(np.rint(shown * (1 - share) + _RED * share), np.uint8)
