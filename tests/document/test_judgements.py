"""The review of a search: judged, rotated and saved without loss."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.edits import ReplaceReview, TurnPicture, UpdateReview
from desktop.document.geometry import Transform, Turn
from desktop.document.model import Change, Document
from desktop.document.opening import file_stamp, open_project
from desktop.document.project import OpenedFile, Snapshot, write_project
from desktop.document.recovery import recover
from engine import imageio
from engine.errors import ReadError
from engine.outlines import judged_defects, outline_defects
from engine.raster import Raster, Rect
from engine.review import Filters, Judgement, Review, Verdict, pack_damage, unpack_damage
from engine.tiles import TileMap
from tests.document.test_edits import HEIGHT, WIDTH, make_document
from tests.document.test_project import save

FILTERS = Filters(0.5, 2.0, 4.0, 1e8, 1000.0)
LABELS = ("dust", "scratch")


def damage_map(*blots: tuple[Rect, int, int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> TileMap:
    """A damage map with rectangles of a probability (0..255) and a class."""
    edit = TileMap.empty((*size, 2), np.uint8).edit()
    for rect, sure, kind in blots:
        edit.write(rect, np.broadcast_to(np.array([sure, kind], np.uint8), (rect.height, rect.width, 2)))
    return edit.commit().apply_to(edit.source)


# Two certain spots joined by a less certain bridge; and a scratch across a tile border.
DUMBBELL = (
    (Rect(20, 20, 60, 28), 120, 0),
    (Rect(20, 20, 30, 30), 250, 0),
    (Rect(50, 20, 60, 30), 240, 0),
    (Rect(200, 250, 290, 262), 255, 1),
)


def review_of(document: Document, *blots: tuple[Rect, int, int]) -> Review:
    size = document.bounds.height, document.bounds.width
    return Review(document.new_id(), damage_map(*(blots or DUMBBELL), size=size), LABELS, FILTERS)


def put_review(document: Document, review: Review | None) -> ReplaceReview:
    edit = ReplaceReview("Find damage", document.state, review)
    edit.apply(document)
    return edit


def judge(document: Document, point: tuple[int, int], verdict: Verdict, kind: str | None = None) -> UpdateReview:
    """Judge the defect that contains a pixel, as it is outlined at the current threshold."""
    review = document.state.review
    assert review is not None
    pixel = Rect(point[0], point[1], point[0] + 1, point[1] + 1)
    item = next(item for item in judged_defects(outline_defects(review), review) if item.defect.box.contains(pixel))
    made = {item.point: Judgement(verdict, item.defect.box, review.filters.threshold, kind)}
    edit = UpdateReview("judge", review, judgements=made)
    edit.apply(document)
    return edit


def at_threshold(document: Document, threshold: float, gesture: int = 0) -> UpdateReview:
    review = document.state.review
    assert review is not None
    edit = UpdateReview("filter", review, filters=replace(review.filters, threshold=threshold), gesture=gesture)
    edit.apply(document)
    return edit


def verdicts(document: Document) -> list[tuple[int, str, Verdict]]:
    """Left edge, class and verdict of each defect."""
    review = document.state.review
    assert review is not None
    return [(item.defect.box.left, item.kind, item.verdict) for item in judged_defects(outline_defects(review), review)]


def same(one: Review | None, other: Review | None) -> bool:
    if one is None or other is None:
        return one is other
    alike = replace(one, damage=other.damage) == other and list(one.judgements) == list(other.judgements)
    return alike and np.array_equal(one.damage.read(one.damage.bounds), other.damage.read(other.damage.bounds))


def test_a_search_and_its_judgements_are_undone_step_by_step() -> None:
    document = make_document()
    heard: list[Change] = []
    document.watch(heard.append)
    states, edits = [document.state.review], []

    def record(edit: ReplaceReview | UpdateReview) -> None:
        edits.append(edit)
        states.append(document.state.review)

    record(put_review(document, review_of(document)))
    record(judge(document, (25, 25), Verdict.ACCEPTED))
    record(at_threshold(document, 0.9))
    record(judge(document, (55, 25), Verdict.KEPT, "scratch"))
    record(put_review(document, review_of(document, (Rect(0, 0, 9, 9), 255, 0))))
    record(put_review(document, None))
    assert all(change == Change(review=True) for change in heard)
    for edit, before in zip(reversed(edits), reversed(states[:-1]), strict=True):
        edit.revert(document)
        assert same(document.state.review, before)
    for edit, after in zip(edits, states[1:], strict=True):
        edit.apply(document)
        assert same(document.state.review, after)


def test_a_review_is_saved_and_its_id_is_not_used_for_layers() -> None:
    document = make_document()
    start = document.state
    edit = put_review(document, review_of(document))
    assert not document.state.same_work(start)
    assert edit.saved
    assert document.state.review is not None
    document.restore(document.state)
    assert document.new_id() > document.state.review.id
    assert sum(delta.nbytes for delta in edit.deltas()) > 0, "an old map can be put away"


def test_a_dragged_threshold_is_one_step() -> None:
    document = make_document()
    put_review(document, review_of(document))
    before = document.state.review
    first, second, third = (at_threshold(document, value, gesture=3) for value in (0.6, 0.7, 0.8))
    merged = first.merge_with(second)
    assert merged is not None
    merged = merged.merge_with(third)
    assert merged is not None
    merged.revert(document)
    assert same(document.state.review, before)
    assert third.merge_with(at_threshold(document, 0.9, gesture=4)) is None
    assert at_threshold(document, 0.9).merge_with(at_threshold(document, 0.5)) is None


def test_the_parts_of_a_judged_defect_inherit_its_judgement_and_the_latest_holds() -> None:
    document = make_document()
    put_review(document, review_of(document))
    whole, scratch = (20, "dust"), (200, "scratch", Verdict.TO_DO)
    assert verdicts(document) == [(*whole, Verdict.TO_DO), scratch]
    judge(document, (25, 25), Verdict.ACCEPTED)
    at_threshold(document, 0.9)
    parts = [(20, "dust", Verdict.ACCEPTED), (50, "dust", Verdict.ACCEPTED), scratch]
    assert verdicts(document) == parts
    judge(document, (55, 25), Verdict.KEPT)
    assert verdicts(document) == [parts[0], (50, "dust", Verdict.KEPT), scratch]
    at_threshold(document, 0.5)
    assert verdicts(document) == [(*whole, Verdict.KEPT), scratch], "what was decided last about a part of it"
    judge(document, (25, 25), Verdict.ACCEPTED, "scratch")
    assert verdicts(document) == [(20, "scratch", Verdict.ACCEPTED), scratch]
    at_threshold(document, 0.9)
    assert verdicts(document)[1] == (50, "scratch", Verdict.ACCEPTED)


@pytest.mark.parametrize("turn", list(Turn))
def test_a_turned_picture_turns_the_map_and_the_judgements(turn: Turn) -> None:
    document = make_document()
    put_review(document, review_of(document))
    judge(document, (25, 25), Verdict.ACCEPTED)
    judge(document, (240, 255), Verdict.KEPT, "dust")
    before, bounds = document.state.review, document.bounds
    assert before is not None
    edit = TurnPicture(turn, document.state)
    edit.apply(document)
    after = document.state.review
    assert after is not None
    transform = Transform.of_turn(turn, bounds)
    expected = transform.array(before.damage.read(before.damage.bounds))
    assert np.array_equal(after.damage.read(after.damage.bounds), expected)
    items = judged_defects(outline_defects(after), after)
    boxes = {transform.rect(Rect(20, 20, 60, 30)): Verdict.ACCEPTED, transform.rect(DUMBBELL[3][0]): Verdict.KEPT}
    assert {item.defect.box: item.verdict for item in items} == boxes
    edit.revert(document)
    assert same(document.state.review, before)


def reviewed_document() -> Document:
    document = make_document()
    put_review(document, review_of(document))
    judge(document, (25, 25), Verdict.ACCEPTED)
    judge(document, (240, 255), Verdict.HEALED, "dust")
    review = document.state.review
    assert review is not None
    filters = replace(review.filters, smallest=7.0, without=frozenset({"dust"}))
    UpdateReview("filter", review, filters=filters).apply(document)
    return document


def test_a_project_keeps_the_review(tmp_path: Path) -> None:
    document = reviewed_document()
    again = open_project(save(document, tmp_path / "p.ora"))
    assert same(again.state.review, document.state.review)
    review = again.state.review
    assert review is not None
    assert set(review.damage.stored) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert again.new_id() > review.id


def test_a_project_of_an_older_version_has_no_review(tmp_path: Path) -> None:
    path = save(make_document(), tmp_path / "p.ora")
    old = tmp_path / "old.ora"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(old, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "lacuna/document.json":
                own = json.loads(data)
                del own["review"]
                data = json.dumps(own).encode()
            copy.writestr(name, data)
    assert open_project(old).state.review is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", []),
        ("judgements", [[5000, 5, [0, 0, 9, 9], 0.5, "kept", None]]),
        ("judgements", [[5, 5, [0, 0, 5000, 9], 0.5, "kept", None]]),
        ("judgements", [[5, 5, [0, 0, 9, 9], 0.5, "burnt", None]]),
        ("cells", [[9, 9], [0, 0], [1, 0], [0, 1]]),
        ("cells", [[0, 0]] * 9),
        ("filters", {"threshold": float("nan"), "without": []}),
        ("filters", {"threshold": 0.5, "without": []}),
    ],
)
def test_a_damaged_review_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path, broken = save(reviewed_document(), tmp_path / "p.ora"), tmp_path / "broken.ora"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(broken, "w") as copy:
        for entry in archive.namelist():
            data = archive.read(entry)
            if entry == "lacuna/document.json":
                own = json.loads(data)
                own["review"][name] = value
                data = json.dumps(own).encode()
            copy.writestr(entry, data)
    with pytest.raises(ReadError, match="damaged"):
        open_project(broken)


def test_a_session_keeps_the_review(tmp_path: Path) -> None:
    document, path = reviewed_document(), tmp_path / "scan.tif"
    imageio.write(Raster(np.array(document.state.scan.base)), path)
    session = AutosaveFolder(tmp_path / "session")
    session.autosave(Snapshot.of(document, OpenedFile(path, file_stamp(path))))
    assert same(recover(tmp_path / "session").document.state.review, document.state.review)
    put_review(document, None)
    session.autosave(Snapshot.of(document, OpenedFile(path, file_stamp(path)), 1))
    assert recover(tmp_path / "session").document.state.review is None


def test_only_tiles_with_damage_are_packed_and_saved(tmp_path: Path) -> None:
    far = damage_map((Rect(9000, 4000, 9004, 4004), 200, 1), (Rect(3, 3, 5, 5), 90, 0), size=(5000, 10_000))
    sheet = pack_damage(far)
    assert sheet.shape == (256, 512, 2)
    back = unpack_damage(sheet, sorted(far.stored), (5000, 10_000))
    assert back.stored.keys() == far.stored.keys()
    assert all(np.array_equal(tile, far.stored[cell]) for cell, tile in back.stored.items())
    empty = TileMap.empty((50, 60, 2), np.uint8)
    assert not unpack_damage(pack_damage(empty), [], (50, 60)).stored
    document = make_document()
    put_review(document, Review(9, TileMap.empty((HEIGHT, WIDTH, 2), np.uint8), LABELS, FILTERS))
    write_project(Snapshot.of(document), tmp_path / "empty.ora")
    assert open_project(tmp_path / "empty.ora").state.review is not None
