"""Looking through a scan: what is found in it, and why a person should look at that."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.batch.plan import Plan
from engine.batch.reviews import Look
from engine.errors import ModelError
from engine.jobs import JobContext
from engine.outlines import JudgedDefect, covered_share, listed_defects, outline_defects, review_of
from engine.raster import ArraySource, PixelSource, Raster, Rect, to_float
from engine.recipes import choose_models, run_recipe
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import Defect, Faces, FaceSettings, Findings, TaskInput, make_settings, run_task
from engine.tasks.findings import LONG, kind_by_shape

MUCH = 0.02
"""Share of the picture that would be healed unasked, 0..1, from which a person should look at it."""
STEP = 0.08
"""Difference in brightness between the two sides of a long straight find, as a share of the range of samples, from
which it lies along an edge of the picture's own. A scratch in a plain area has the same brightness on both sides."""
_POINTS = 64
"""Places along a find where its two sides are compared."""
_BESIDE = (2.0, 3.0, 4.0)
"""Distances from a find's border at which its sides are compared, pixels; nearer ones may belong to its faint edge."""


def look_through(
    scan: Raster, plan: Plan, registry: Registry, context: JobContext | None = None
) -> tuple[Look, Device]:
    """Run a recipe up to its search for damage, and note what was found; also where the model ran. Any thread.

    Args:
        scan: the picture; the digest of the result is empty.
        plan: with a recipe that has one search, see ``Plan.search_step``.
        registry: the models.
        context: progress and cancellation.

    Raises:
        SettingsError, ModelError, DeviceError, Cancelled: as ``run_recipe``.
    """
    used, device, recipe, number = context or JobContext(), Device(plan.device), plan.made_recipe(), plan.search_step()
    picture: PixelSource = ArraySource(scan.pixels)
    if number:
        before = replace(recipe, steps=recipe.steps[:number])
        picture = run_recipe(before, picture, scan.profile, registry, device, used.part(0.0, 0.4)).source
    card, settings = choose_models(recipe, registry)[number]
    card.verify()
    given = TaskInput("detect", picture, scan.profile, None, settings, card, device)
    findings: Findings = run_task(given, used.part(0.4 if number else 0.0, 0.8))
    search = replace(findings.repair(given), recipe=recipe.name)
    review = review_of(findings, settings, search, 1, recipe.name)
    items = listed_defects(outline_defects(review, used.part(0.8, 0.9)), review)
    faces = _faces(scan, registry, device, used.part(0.9, 1.0)) if items else None
    chips = _chips(items, scan, settings.grow, faces)
    found = Counter(item.kind for item in items)
    return Look(review, "", plan.search_id(registry), found, chips), findings.device


def _faces(scan: Raster, registry: Registry, device: Device, context: JobContext) -> Faces | None:
    """The faces of a picture; None if no model for them is installed."""
    try:
        card = registry.default("faces")
    except ModelError:
        return None
    settings: FaceSettings = make_settings("faces", card, {})
    given = TaskInput("faces", ArraySource(scan.pixels), scan.profile, None, settings, card, device)
    found: Faces = run_task(given, context)
    return found


def _chips(items: Sequence[JudgedDefect], scan: Raster, grow: float, faces: Faces | None) -> tuple[str, ...]:
    """Names of ``CHIPS``."""
    certain, bounds = [item for item in items if not item.unsure], Rect.of_shape(scan.pixels.shape)
    reasons = {
        "face": faces is not None and any(is_near_face(item.defect, faces) for item in items),
        "much": covered_share(certain, grow, bounds) > MUCH,
        "edge": any(lies_along_edge(scan, item.defect) for item in items),
        "unsure": len(certain) < len(items),
    }
    return tuple(name for name, holds in reasons.items() if holds)


def is_near_face(defect: Defect, faces: Faces) -> bool:
    """Whether a defect's box touches that of a face, or is nearer to it than half of the face's size."""
    box = defect.box
    for face in faces.faces:
        reach = max(face.width, face.height) / 2
        across = face.x - reach <= box.right and box.left <= face.x + face.width + reach
        if across and face.y - reach <= box.bottom and box.top <= face.y + face.height + reach:
            return True
    return False


def lies_along_edge(scan: Raster, defect: Defect) -> bool:
    """Whether a long straight find has different brightness on its two sides, see ``STEP``."""
    import cv2

    box, (height, width) = defect.box, scan.pixels.shape[:2]
    diagonal = math.hypot(box.width, box.height)
    shape = kind_by_shape(defect.area, defect.elongation, defect.width, diagonal, min(height, width))
    if defect.elongation < LONG or shape != "scratch":
        return False
    corners = np.array(defect.outline, np.float32)
    along_x, along_y, middle_x, middle_y = cv2.fitLine(corners, cv2.DIST_L2, 0, 0.01, 0.01).ravel().tolist()
    places = (corners - (middle_x, middle_y)) @ np.array([along_x, along_y])
    along = np.linspace(places.min(), places.max(), _POINTS)[:, None]
    sides = []
    for sign in (-1, 1):
        away = sign * (defect.width / 2 + np.array(_BESIDE))[None]
        x = np.rint(middle_x + along * along_x - away * along_y).astype(np.intp).clip(0, width - 1)
        y = np.rint(middle_y + along * along_y + away * along_x).astype(np.intp).clip(0, height - 1)
        sides.append(to_float(scan.pixels[y, x]).mean(axis=(1, 2)))
    return abs(float(np.median(sides[1] - sides[0]))) >= STEP
