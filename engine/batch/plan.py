"""What a batch does with every scan."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.batch.naming import check_beside, check_template
from engine.errors import SettingsError, Words
from engine.imageio import WRITABLE, WriteOptions
from engine.output import Output, target_profile
from engine.recipes import Recipe, choose_models, parse_recipe, recipe_file
from engine.runtime.cards import Registry

Existing = Literal["skip", "keep", "replace"]


@dataclass(frozen=True)
class Plan:
    """What a batch does with every scan. Plain data, which is stored in the table and sent to other processes.

    Attributes:
        recipe: name of the recipe.
        steps: contents of its file, TOML.
        template: names of the results, see ``naming.Namer``.
        suffix: of the results with its dot; "" = that of each scan where its format keeps samples as they are.
        depth: bits a sample; None = those of each scan.
        quality: of JPEG and lossy WebP, 1..100; None = the default.
        profile: as ``Output.profile``.
        device: where the models run.
        exists: what happens where a result exists: ``skip`` it if scan, recipe and models are the same, and else
            replace it; ``keep`` both; ``replace`` it always. A file that no batch wrote, or that was changed since,
            is only replaced if ``replace`` says so.
        beside: name of a subfolder for the results in each scan's own folder; the batch's output folder is then one
            above all scans. "" = results are mirrored in the output folder.
        review: whether scans are looked through first, and wait for a person's decisions about what was found.
        detect_only: whether scans are only looked through, and a mask of what was found is written instead of a result.
    """

    recipe: str
    steps: str
    template: str = "{name}"
    suffix: str = ""
    depth: int | None = None
    quality: int | None = None
    profile: str = "keep"
    device: str = "auto"
    exists: Existing = "skip"
    beside: str = ""
    review: bool = False
    detect_only: bool = False

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Plan:
        """The inverse of ``dataclasses.asdict``, also after a round trip through JSON."""
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in table.items() if name in known})

    def check(self, registry: Registry) -> str:
        """Check that the plan can be carried out at all, and return its fingerprint.

        Results with the same fingerprint, made of the same scan, are the same.

        Raises:
            SettingsError: the recipe, the template, the subfolder, the format, the profile or the quality cannot be
                used.
            ModelError: a model is missing or damaged.
            ReadError: the profile cannot be read.
        """
        check_template(self.template)
        check_beside(self.beside)
        WriteOptions.asked(self.depth, self.quality)
        if self.suffix and self.suffix not in WRITABLE:
            raise SettingsError(
                "Results cannot be written as {suffix}; there are {known}.",
                "batch.format",
                suffix=self.suffix,
                known=", ".join(WRITABLE),
            )
        if self.detect_only and self.suffix not in ("", ".png"):
            raise SettingsError("Masks are written as PNG, and have no other format.", "batch.format")
        if self.review or self.detect_only:
            self.search_step()
        steps = self._facts_of_steps(registry)
        profile = hashlib.sha256(target_profile(self.profile) or b"").hexdigest()
        facts = [steps, self.suffix, self.depth, self.quality, profile, *(["detect only"] if self.detect_only else [])]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def made_recipe(self) -> Recipe:
        """The recipe; raises SettingsError if it cannot be used."""
        return parse_recipe(self.steps.encode(), f"{self.recipe}.toml")

    @property
    def naming(self) -> tuple[str, str]:
        """Template and suffix of the names of what is written."""
        return (f"{self.template}-mask", ".png") if self.detect_only else (self.template, self.suffix)

    @property
    def searches(self) -> bool:
        """Whether the recipe looks for damage at all."""
        return any(step.task == "detect" for step in self.made_recipe().steps)

    def search_step(self) -> int:
        """Index of the recipe's step that looks for damage.

        Raises:
            SettingsError: there is none, or there are several: then what was found cannot be reviewed.
        """
        found = [number for number, step in enumerate(self.made_recipe().steps) if step.task == "detect"]
        if len(found) == 1:
            return found[0]
        reason = (
            "looks for damage more than once, and only one search can be reviewed"
            if found
            else "does not look for damage, so there would be nothing to review"
        )
        raise SettingsError("The recipe {recipe} {reason}.", "batch.review", recipe=self.recipe, reason=Words(reason))

    def search_id(self, registry: Registry) -> str:
        """Tells the recipe's search for damage, with all that happens before it, from other ones.

        Raises:
            SettingsError, ModelError: as ``check``.
        """
        steps = self._facts_of_steps(registry)[: self.search_step() + 1]
        return hashlib.sha256(json.dumps(steps).encode()).hexdigest()

    def _facts_of_steps(self, registry: Registry) -> list[list[Any]]:
        """What the result of each step depends on, besides the picture."""
        facts, recipe = [], self.made_recipe()
        for step, (card, _) in zip(recipe.steps, choose_models(recipe, registry), strict=True):
            card.verify()
            facts.append(
                [step.task, card.id, [stage.sha256 for stage in card.stages], dict(sorted(step.settings.items()))]
            )
        return facts

    def output(self, path: Path, facts: dict[str, Any]) -> Output:
        """How a result is written, with further facts for its record."""
        return Output(path, WriteOptions.asked(self.depth, self.quality), self.profile, facts=facts)


def plan_of(recipe: str, **settings: Any) -> Plan:
    """A plan with a recipe that ships, by name, or a recipe file, by path. Raises as ``read_recipe``."""
    path, contents = recipe_file(recipe)
    name = parse_recipe(contents, path.name).name
    profile = settings.pop("profile", "keep")
    profile = profile if profile in ("keep", "srgb") else str(Path(profile).absolute())
    return Plan(name, contents.decode(), profile=profile, **settings)
