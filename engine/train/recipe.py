"""Training recipes: all settings of one training, read from TOML. Unknown and impossible settings are named."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import tables
from engine.errors import SettingsError
from engine.runtime.cards import Setting
from engine.tasks import TASKS

RECIPES = Path(__file__).parent / "recipes"


def _require(holds: object, what: str) -> None:
    if not holds:
        raise SettingsError("Impossible training setting: {what}.", "train.setting", what=what)


@dataclass(frozen=True)
class Data:
    """How crops are drawn from photographs."""

    crop: int = 128
    """Side of the square training crops, pixels; a multiple of 32."""
    batch: int = 16
    """Crops in a step."""
    zoom_out: float = 2.0
    """A crop is cut from a window of up to this many times its side, and reduced."""
    zoom_in: float = 1.0
    """If above 1, half of the crops are cut from a window of down to their side divided by this, and enlarged."""
    share_cap: dict[str, float] = field(default_factory=dict)
    """Prefix of file names -> largest share of all crops that these photographs may have together."""
    short_side: int = 0
    """Photographs are reduced to this short side when they are loaded, pixels; 0 = they keep their size."""
    unlabelled: tuple[str, ...] = ()
    """Prefixes of file names of photographs that may have damage of their own, for detection."""

    def __post_init__(self) -> None:
        _require(self.crop >= 32 and self.crop % 32 == 0, f"data.crop = {self.crop} (a multiple of 32)")
        _require(self.batch >= 1, f"data.batch = {self.batch} (at least 1)")
        _require(1.0 <= self.zoom_out <= 8.0, f"data.zoom_out = {self.zoom_out} (1 to 8)")
        _require(1.0 <= self.zoom_in <= 4.0, f"data.zoom_in = {self.zoom_in} (1 to 4)")
        _require(
            self.short_side == 0 or self.short_side >= self.crop, f"data.short_side = {self.short_side} (0, or a crop)"
        )
        caps = self.share_cap.values()
        _require(all(0 < cap < 1 for cap in caps) and sum(caps) < 1, f"data.share_cap = {self.share_cap} (sum below 1)")


@dataclass(frozen=True)
class Damage:
    """Which masks and degradations photographs get."""

    kinds: dict[str, float] = field(default_factory=lambda: {"scratch": 1.0})
    """Mask kind (a row of ``shapes.MASKS``) -> how often, relative to the others."""
    pool: int = 2048
    """Number of masks drawn once before the training; each use flips or turns one of them."""
    ageing: dict[str, float] = field(default_factory=dict)
    """Degradation (a row of ``degrade.DEGRADATIONS``) -> the chance that a picture gets it."""
    weakest: float = 0.0
    """Severities of the ageing are drawn evenly from this ..."""
    strongest: float = 1.0
    """... to this."""
    alone: float = 0.0
    """Share of the pictures that keep only one of the degradations drawn for them."""
    look: float = 0.0
    """How far gamma, saturation and brightness of the photographs are varied before the ageing, 0 to 1."""
    toned: float = 0.0
    """Share of the photographs that become black-and-white or toned prints before the ageing."""

    def __post_init__(self) -> None:
        _require(0 <= self.look <= 1, f"damage.look = {self.look} (0 to 1)")
        _require(0 <= self.toned <= 1, f"damage.toned = {self.toned} (0 to 1)")
        _require(0 < self.strongest <= 1, f"damage.strongest = {self.strongest} (above 0, at most 1)")
        _require(0 <= self.weakest <= self.strongest, f"damage.weakest = {self.weakest} (0 to strongest)")
        _require(bool(self.kinds) and all(w > 0 for w in self.kinds.values()), f"damage.kinds = {self.kinds}")
        _require(0 <= self.alone <= 1, f"damage.alone = {self.alone} (0 to 1)")
        _require(self.pool >= 1, f"damage.pool = {self.pool} (at least 1)")


@dataclass(frozen=True)
class HardNegatives:
    """Crops in which a network in training finds what is not there: damage in sound ones, faces where there is none.

    A part of the training is drawn from a pool of them.
    """

    share: float = 0.0
    """Share of each batch, or, for faces, of the pieces without a face; 0 = no hard negatives."""
    every: int = 40
    """Steps from one search for hard negatives to the next."""
    candidates: int = 48
    """Crops that the network is run on in a search."""
    kept: int = 15
    """Of these, how many with the largest errors go into the pool."""
    pool: int = 150
    """Size of the pool; the oldest leave it."""

    def __post_init__(self) -> None:
        _require(0 <= self.share <= 0.5, f"negatives.share = {self.share} (0 to 0.5)")
        _require(self.every >= 1, f"negatives.every = {self.every} (at least 1)")
        _require(1 <= self.kept <= self.candidates, f"negatives.kept = {self.kept} (1 to candidates)")
        _require(self.pool >= self.kept, f"negatives.pool = {self.pool} (at least kept)")


@dataclass(frozen=True)
class Network:
    """The network that is trained: a row of ``nets.NETWORKS`` and its options."""

    name: str = "heal_unet"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Adversary:
    """The discriminators. There are none when weight, matching and style are all 0."""

    network: str = "patch_discriminator"
    game: str = "hinge"
    """A row of ``losses.ADVERSARIAL``."""
    weight: float = 0.0
    """Weight of the adversarial term in the generator's loss."""
    matching: float = 0.0
    """Weight of feature matching through the discriminator."""
    style: float = 0.0
    """Weight of the style term (Gram matrices) on the discriminator's features."""
    r1: float = 1.0
    """Weight of the R1 gradient penalty on real pictures."""
    gradient_penalty: float = 0.0
    """Weight of the gradient penalty of the Wasserstein game."""
    learning_rate: float = 2e-4
    beta1: float = 0.0
    """Adam's first decay."""
    start: float = 0.6
    """Share of the schedule after which the discriminators take part."""

    def __post_init__(self) -> None:
        for name in ("weight", "matching", "style", "r1", "gradient_penalty", "learning_rate"):
            _require(getattr(self, name) >= 0, f"adversary.{name} = {getattr(self, name)} (not negative)")
        _require(0.0 <= self.start < 1.0, f"adversary.start = {self.start} (0 to 1)")
        _require(0.0 <= self.beta1 < 1.0, f"adversary.beta1 = {self.beta1} (0 to 1)")

    @property
    def enabled(self) -> bool:
        """Whether the training has discriminators."""
        return self.weight > 0 or self.matching > 0 or self.style > 0


@dataclass(frozen=True)
class Schedule:
    """Learning rate, optimiser and validation."""

    learning_rate: float = 1e-3
    floor: float = 1e-5
    """Learning rate at the end of the cosine."""
    warm_up: int = 200
    """Steps of linear warm-up at the start of a training."""
    beta1: float = 0.9
    """Adam's first decay."""
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Gradients with a larger norm are scaled down to this norm."""
    averaging: float = 0.999
    """Decay of the exponential moving average of the weights. The averaged weights are what is exported."""
    validate_every: float = 120.0
    """Seconds from one validation, which is followed by a checkpoint, to the next."""
    validation_crops: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        _require(
            0 < self.floor <= self.learning_rate, f"schedule.floor = {self.floor} (above 0, at most learning_rate)"
        )
        _require(
            self.warm_up >= 0 and self.weight_decay >= 0 and self.clip > 0, "schedule.warm_up, weight_decay or clip"
        )
        _require(0 <= self.averaging < 1, f"schedule.averaging = {self.averaging} (0 to below 1)")
        _require(self.validate_every > 0, f"schedule.validate_every = {self.validate_every} (above 0)")
        _require(self.validation_crops >= 2, f"schedule.validation_crops = {self.validation_crops} (at least 2)")
        _require(self.seed >= 0, f"schedule.seed = {self.seed} (not negative)")


@dataclass(frozen=True)
class TrainingRecipe:
    """All settings of one training."""

    name: str
    task: str
    """The row of ``engine.tasks.TASKS`` that the exported model is for."""
    title: str
    """Name of the model in the window."""
    summary: str
    """One sentence about what the model is for, in the window."""
    losses: dict[str, float]
    """Row of ``losses.LOSSES``, or of ``losses.CYCLES`` for CycleGAN -> weight."""
    system: str = "fill"
    """A row of ``systems.SYSTEMS``."""
    settings: tuple[Setting, ...] = ()
    """Inputs of the exported model that a person can set, for its card."""
    default: bool = False
    """Whether the exported model is the default of its task."""
    study: bool = False
    """Whether the exported model is made to compare and to train further, not for daily work."""
    data: Data = field(default_factory=Data)
    damage: Damage = field(default_factory=Damage)
    negatives: HardNegatives = field(default_factory=HardNegatives)
    network: Network = field(default_factory=Network)
    adversary: Adversary = field(default_factory=Adversary)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        _require(bool(self.losses) and all(w > 0 for w in self.losses.values()), f"losses = {self.losses}")
        _require(self.task in TASKS, f"task = {self.task} ({', '.join(TASKS)})")

    def as_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries, as it is kept in checkpoints and run folders."""
        return dataclasses.asdict(self)


def training_recipe_names() -> list[str]:
    """Names of the training recipes that ship, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_training_recipe(name: str, overrides: list[str] | None = None) -> TrainingRecipe:
    """Read a training recipe that ships by its name, or a recipe file by its path.

    Args:
        name: ``heal``, or the path of a TOML file.
        overrides: ``section.key=value`` with the value in TOML syntax (a bare word is taken as text).

    Raises:
        SettingsError: no such recipe, not TOML, or an unknown or impossible setting (named).
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(training_recipe_names())
        raise SettingsError("There is no recipe {name!r}. Recipes: {known}.", "train.recipe", name=name, known=known)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "The recipe {file} is not valid TOML: {reason}.", "train.recipe", file=path.name, reason=error
        ) from error
    for override in overrides or []:
        _override(table, override)
    return recipe_from_dict({"name": path.stem, **table})


def recipe_from_dict(table: dict[str, Any]) -> TrainingRecipe:
    """Build a training recipe from nested dictionaries.

    Raises:
        SettingsError: an unknown, missing or impossible setting (named).
    """
    try:
        return tables.from_table(TrainingRecipe, table)
    except ValueError as error:
        raise SettingsError("The training recipe cannot be used: {reason}.", "train.setting", reason=error) from error


def _override(table: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    _require(bool(separator) and bool(key.strip()), f"{text!r} (write section.key=value)")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *sections, last = key.strip().split(".")
    for section in sections:
        table = table.setdefault(section, {})
        _require(isinstance(table, dict), f"{key} ({section} is not a section)")
    table[last] = parsed
