"""Edits: their effects, and that reverting all of them restores the document exactly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.blend import BlendMode, draw
from desktop.document.compose import ComposeCache, Composite, flatten
from desktop.document.content import KINDS, Content, Operation
from desktop.document.edits import (
    AddLayer,
    AddToLayer,
    Compound,
    Edit,
    MoveLayer,
    Paint,
    RemoveLayer,
    ReplaceReview,
    SetLayer,
    TurnPicture,
    UpdateReview,
    merge_down,
)
from desktop.document.geometry import Transform, Turn
from desktop.document.model import Change, Document, Layer
from desktop.document.opening import file_stamp, open_project
from desktop.document.project import OpenedFile, Snapshot, write_project
from desktop.document.recovery import recover
from desktop.document.targets import EDGE_MAP, REPAIR_MASK, LayerMask, Target
from desktop.work.edges import clear_edges
from engine.errors import ReadError
from engine.jobs import JobContext
from engine.raster import Raster, Rect, mix
from engine.record import Repair
from engine.review import Filters, Judgement, Review, Verdict
from engine.tiles import TileMap

HEIGHT, WIDTH = 270, 300
REPAIR = Repair("heal", "heal", "1", "00", "cpu")


def make_document(channels: int = 3, dtype: type = np.uint16) -> Document:
    random = np.random.default_rng(3)
    return Document(Raster(random.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels), dtype)))


def filled_layer(document: Document, rect: Rect, seed: int = 1, weight: int = 255) -> Layer:
    random = np.random.default_rng(seed)
    layer = document.new_layer(f"layer {seed}")
    pixels, mask = layer.pixels.edit(), layer.mask.edit()
    top = np.iinfo(layer.pixels.dtype).max
    pixels.write(rect, random.integers(0, top, (rect.height, rect.width, document.channels), layer.pixels.dtype))
    mask.write(rect, np.full((rect.height, rect.width), weight, np.uint8))
    return layer.with_pixels(pixels.commit().apply_to(layer.pixels), mask.commit().apply_to(layer.mask))


def paint(document: Document, target: Target, rect: Rect, value: int) -> Paint:
    edit = target.read(document.state).edit()
    edit.change(rect, lambda view, _: view.fill(value))
    return Paint("paint", target, edit.commit())


def merge(document: Document, id_: int) -> Edit:
    return merge_down(document.state, id_, document.new_layer(""))


def join(document: Document, id_: int, rect: Rect, seed: int) -> AddToLayer:
    layer, other = document.state.layer(id_), filled_layer(document, rect, seed)
    pixels, mask = layer.pixels.edit(), layer.mask.edit()
    pixels.write(rect, other.pixels.read(rect))
    mask.write(rect, other.mask.read(rect))
    return AddToLayer("join", id_, pixels.commit(), mask.commit(), REPAIR)


def picture(document: Document) -> np.ndarray:
    return flatten(Composite.of(document.state))


def everything(document: Document) -> list[np.ndarray]:
    state = document.state
    edges = EDGE_MAP.read(state)
    arrays = [picture(document), state.mask.read(state.mask.bounds), edges.read(edges.bounds)]
    arrays.append(np.array(state.edges is None))
    if state.review is not None:
        marks = [[*point, one.box.left, one.box.bottom] for point, one in state.review.judgements.items()]
        arrays += [state.review.damage.read(state.review.damage.bounds), np.array(marks)]
    for layer in state.layers:
        arrays += [layer.pixels.read(layer.pixels.bounds), layer.mask.read(layer.mask.bounds)]
    return arrays


spots = st.builds(
    lambda x, y, w, h: Rect(x, y, min(260, x + w), min(260, y + h)),
    st.integers(0, 250),
    st.integers(0, 250),
    st.integers(1, 200),
    st.integers(1, 200),
)


OF_A_LAYER = ("remove", "move", "opacity", "blend", "hide", "join", "merge", "mask")


def random_edit(draw: Callable, document: Document) -> Edit | None:
    kind = draw(st.sampled_from(["paint", "edges", "clear", "add", "turn", "find", "judge", *OF_A_LAYER]))
    layers = document.state.layers
    rect = draw(spots) & document.bounds
    if kind == "paint":
        return paint(document, REPAIR_MASK, rect, draw(st.integers(0, 255)))
    if kind == "edges":
        return paint(document, EDGE_MAP, rect, draw(st.integers(0, 255)))
    if kind == "clear":
        return clear_edges(document.state)
    if kind == "add":
        layer = filled_layer(document, rect, draw(st.integers(0, 9)), draw(st.integers(0, 255)))
        return AddLayer("add", layer, draw(st.integers(0, len(layers))))
    if kind in ("find", "judge"):
        return random_review_edit(document, kind, rect)
    if kind == "turn":
        return TurnPicture(draw(st.sampled_from(list(Turn))), document.state)
    return random_layer_edit(draw, document, kind, rect) if layers else None


def random_review_edit(document: Document, kind: str, rect: Rect) -> Edit | None:
    review = document.state.review
    if kind == "find":
        edit = TileMap.empty((document.bounds.height, document.bounds.width, 2), np.uint8).edit()
        edit.change(rect, lambda view, _: view.fill(99))
        damage, filters = edit.commit().apply_to(edit.source), Filters(0.5, 2, 4, 1e8, 1000)
        return ReplaceReview("find", document.state, Review(document.new_id(), damage, ("dust",) * 100, filters))
    if review is None or not rect:
        return None
    judgement = Judgement(Verdict.KEPT, rect, 0.5)
    return UpdateReview("judge", review, judgements={(rect.left, rect.top): judgement})


def random_layer_edit(draw: Callable, document: Document, kind: str, rect: Rect) -> Edit | None:
    layers = document.state.layers
    layer = draw(st.sampled_from(layers))
    if kind == "remove":
        return RemoveLayer("remove", document.state, layer.id)
    if kind == "move":
        return MoveLayer("move", document.state, layer.id, draw(st.integers(0, len(layers) - 1)))
    if kind == "opacity":
        return SetLayer("opacity", layer, {"opacity": draw(st.sampled_from([0.0, 0.3, 1.0]))})
    if kind == "blend":
        return SetLayer("blend", layer, {"blend": draw(st.sampled_from(list(BlendMode)))})
    if kind == "hide":
        return SetLayer("hide", layer, {"visible": not layer.visible})
    if kind == "join":
        return join(document, layer.id, rect, draw(st.integers(0, 9)))
    if kind == "mask":
        return paint(document, LayerMask(layer.id), rect, draw(st.integers(0, 255)))
    return merge(document, layer.id) if document.state.index(layer.id) > 0 else None


@given(st.data())
def test_any_sequence_of_edits_followed_by_as_many_undos_gives_the_first_picture(data: st.DataObject) -> None:
    document = make_document(
        channels=data.draw(st.sampled_from([1, 3])), dtype=data.draw(st.sampled_from([np.uint8, np.uint16]))
    )
    seen, edits = [everything(document)], []
    for _ in range(data.draw(st.integers(1, 8))):
        edit = random_edit(data.draw, document)
        if edit is not None:
            edit.apply(document)
            edits.append(edit)
            seen.append(everything(document))
    for edit, before in zip(reversed(edits), reversed(seen[:-1]), strict=True):
        edit.revert(document)
        for now, then in zip(everything(document), before, strict=True):
            assert np.array_equal(now, then)
    for edit, after in zip(edits, seen[1:], strict=True):
        edit.apply(document)
        for now, then in zip(everything(document), after, strict=True):
            assert np.array_equal(now, then)


def test_edges_are_not_saved_and_an_edge_map_stays_when_all_edges_are_erased() -> None:
    document = make_document()
    start = document.state
    drawing = paint(document, EDGE_MAP, Rect(10, 10, 40, 12), 255)
    drawing.apply(document)
    assert document.state.same_work(start)
    assert not drawing.saved
    assert paint(document, REPAIR_MASK, Rect(0, 0, 9, 9), 255).saved
    paint(document, EDGE_MAP, Rect(10, 10, 40, 12), 0).apply(document)
    TurnPicture(Turn.LEFT, document.state).apply(document)
    assert document.state.edges is not None
    assert not document.state.edges.read(document.state.edges.bounds).any()


def test_outside_a_layer_the_flattened_picture_is_the_scan_bit_for_bit() -> None:
    document = make_document()
    scan = picture(document)
    rect = Rect(100, 40, 180, 90)
    AddLayer("add", filled_layer(document, rect), 0).apply(document)
    result = picture(document)
    assert not np.array_equal(result[rect.slices()], scan[rect.slices()])
    result = result.copy()
    result[rect.slices()] = scan[rect.slices()]
    assert np.array_equal(result, scan)


def test_an_untouched_document_flattens_to_the_scans_own_array() -> None:
    document = make_document()
    assert np.shares_memory(picture(document), document.state.scan.base)


def test_reductions_of_a_composite_show_the_layers() -> None:
    document = make_document()
    AddLayer("add", filled_layer(document, Rect(0, 0, 256, 256)), 0).apply(document)
    composite = Composite.of(document.state)
    whole = composite.read(document.bounds).astype(float)[:256, :256]
    means = whole.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(composite.read(Rect(0, 0, 64, 64), 2) - means).max() <= 2


@pytest.mark.parametrize("blend", list(BlendMode))
@pytest.mark.parametrize("channels", [1, 3])
def test_merging_down_keeps_the_picture(blend: BlendMode, channels: int) -> None:
    document = make_document(channels)
    AddLayer("add", filled_layer(document, Rect(0, 0, 120, 120), 1, 180), 0).apply(document)
    upper = replace(filled_layer(document, Rect(60, 60, 290, 260), 2, 90), blend=blend, opacity=0.7)
    AddLayer("add", upper, 1).apply(document)
    before = picture(document)
    merge(document, upper.id).apply(document)
    assert len(document.state.layers) == 1
    assert np.array_equal(picture(document), before)


def test_turning_four_times_is_the_identity_and_turns_layers_along() -> None:
    document = make_document()
    AddLayer("add", filled_layer(document, Rect(30, 200, 120, 265)), 0).apply(document)
    paint(document, REPAIR_MASK, Rect(5, 6, 50, 20), 200).apply(document)
    before = everything(document)
    TurnPicture(Turn.RIGHT, document.state).apply(document)
    assert np.array_equal(picture(document), np.rot90(before[0], -1))
    assert np.array_equal(everything(document)[1], np.rot90(before[1], -1))
    for _ in range(3):
        TurnPicture(Turn.RIGHT, document.state).apply(document)
    assert np.array_equal(picture(document), before[0])


@pytest.mark.parametrize("turn", list(Turn))
def test_a_turned_rectangle_lies_where_its_pixels_do(turn: Turn) -> None:
    array = np.zeros((30, 50), bool)
    rect = Rect(7, 3, 20, 11)
    array[rect.slices()] = True
    transform = Transform.of_turn(turn, Rect(0, 0, 50, 30))
    turned = np.zeros_like(transform.array(array))
    turned[transform.rect(rect).slices()] = True
    assert np.array_equal(turned, transform.array(array))


def test_a_dragged_opacity_is_one_step_and_another_drag_is_another() -> None:
    document = make_document()
    AddLayer("add", filled_layer(document, Rect(0, 0, 9, 9)), 0).apply(document)
    layer = document.state.layers[0]
    first = SetLayer("opacity", layer, {"opacity": 0.9}, gesture=7)
    first.apply(document)
    second = SetLayer("opacity", document.state.layers[0], {"opacity": 0.4}, gesture=7)
    second.apply(document)
    merged = first.merge_with(second)
    assert merged is not None
    merged.revert(document)
    assert document.state.layers[0].opacity == 1.0
    merged.apply(document)
    assert document.state.layers[0].opacity == 0.4
    other_drag = SetLayer("opacity", layer, {"opacity": 0.1}, gesture=8)
    assert first.merge_with(other_drag) is None
    assert SetLayer("name", layer, {"name": "a"}).merge_with(SetLayer("name", layer, {"name": "b"})) is None
    assert first.merge_with(SetLayer("hide", layer, {"visible": False}, gesture=7)) is None


def test_watchers_are_told_exactly_what_changed() -> None:
    document = make_document()
    heard: list[Change] = []
    document.watch(heard.append)
    paint(document, REPAIR_MASK, Rect(5, 6, 50, 20), 200).apply(document)
    assert heard[-1] == Change(mask=Rect(0, 0, 256, 256))
    AddLayer("add", filled_layer(document, Rect(0, 0, 9, 9)), 0).apply(document)
    assert heard[-1] == Change(picture=Rect(0, 0, 256, 256), layers=True)
    SetLayer("name", document.state.layers[0], {"name": "other"}).apply(document)
    assert heard[-1] == Change(layers=True)
    TurnPicture(Turn.LEFT, document.state).apply(document)
    assert heard[-1].size


def test_a_compound_reverts_in_reverse() -> None:
    document = make_document()
    first = paint(document, REPAIR_MASK, Rect(0, 0, 20, 20), 100)
    first.apply(document)
    second = paint(document, REPAIR_MASK, Rect(10, 10, 30, 30), 200)
    first.revert(document)
    both = Compound("both", [first, second])
    both.apply(document)
    mask = document.state.mask
    assert mask.read(Rect(15, 15, 16, 16)) == 200
    both.revert(document)
    assert not document.state.mask.read(mask.bounds).any()


def test_a_live_stroke_is_shown_but_is_not_the_state() -> None:
    document = make_document()
    edit = document.state.mask.edit()
    edit.change(Rect(0, 0, 5, 5), lambda view, _: view.fill(9))
    document.show(replace(document.state, mask=edit.preview()), Change(mask=edit.dirty))
    assert document.shown.mask.read(Rect(0, 0, 1, 1)) == 9
    assert document.state.mask.read(Rect(0, 0, 1, 1)) == 0
    document.show(None, Change())
    assert document.shown is document.state


@pytest.mark.parametrize("blend", list(BlendMode))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_blend_mode_is_finite_and_stays_within_its_neighbours(blend: BlendMode, dtype: type) -> None:
    top = np.iinfo(dtype).max
    steps = np.linspace(0, top, 6).astype(dtype)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    below, above = np.broadcast_arrays(cube[:, None], cube[None, :])
    mask = np.full(below.shape[:2], 255, np.uint8)
    drawn = draw(np.ascontiguousarray(below), np.ascontiguousarray(above), mask, 1.0, blend).astype(float)
    b, s = below.astype(float), above.astype(float)
    if blend is BlendMode.NORMAL:
        assert np.array_equal(drawn, s)
    if blend in (BlendMode.MULTIPLY, BlendMode.DARKEN):
        assert (drawn <= np.minimum(b, s) + 0.51).all()
    if blend in (BlendMode.SCREEN, BlendMode.LIGHTEN):
        assert (drawn >= np.maximum(b, s) - 0.51).all()
    if blend in (BlendMode.LUMINOSITY, BlendMode.COLOUR):
        light = s if blend is BlendMode.LUMINOSITY else b
        weights = [0.299, 0.587, 0.114]
        assert np.abs(drawn @ weights - light @ weights).max() < 1.5
    if blend in (BlendMode.SOFT_LIGHT, BlendMode.OVERLAY):
        grey = s[:, :, 0] == s[:, :, 1]
        black, white = (b == 0).all(axis=2) & grey, (b == top).all(axis=2) & grey
        assert drawn[black].max() <= 0.51
        assert drawn[white].min() >= top - 0.51
    half = draw(np.ascontiguousarray(below), np.ascontiguousarray(above), mask, 0.5, blend).astype(float)
    assert np.abs(half - (b + drawn) / 2).max() <= 1.01


def repaired_layer(document: Document, rect: Rect, number: int) -> Layer:
    return replace(filled_layer(document, rect, number), made_by=(replace(REPAIR, boxes=((number, 0, 9, 9),)),))


def test_a_record_lists_the_repairs_that_show_each_once() -> None:
    document = make_document()
    shown, hidden, clear, emptied = (
        repaired_layer(document, Rect(10 * n, 10 * n, 10 * n + 30, 10 * n + 30), n) for n in range(4)
    )
    copy = replace(shown, id=document.new_id(), name="copy")
    layers = (
        shown,
        replace(hidden, visible=False),
        replace(clear, opacity=0.0),
        replace(emptied, mask=TileMap.empty(emptied.mask.shape, np.uint8)),
        copy,
    )
    for layer in layers:
        AddLayer("add", layer, len(document.state.layers)).apply(document)
    assert document.state.repairs() == list(shown.made_by)
    # A layer with an opacity of 1 % counts, and so does a visible copy of a hidden layer.
    document.update(document.state.with_layer(replace(clear, opacity=0.01)), Change())
    document.update(document.state.with_layer(replace(shown, visible=False)), Change())
    assert document.state.repairs() == [*clear.made_by, *shown.made_by]


@pytest.mark.parametrize("unseen", [{"visible": False}, {"opacity": 0.0}])
def test_a_record_lists_nothing_that_was_merged_without_being_seen(unseen: dict[str, float]) -> None:
    document = make_document()
    shown, hidden = (repaired_layer(document, Rect(10 * n, 10, 10 * n + 30, 40), n) for n in range(2))
    for place, layer in enumerate((shown, replace(hidden, **unseen))):
        AddLayer("add", layer, place).apply(document)
    merge(document, hidden.id).apply(document)
    assert document.state.repairs() == list(shown.made_by)


@dataclass(frozen=True)
class Inverted(Content):
    """Inverts the picture below: a kind of layer without pixels."""

    kind = "inverted"
    amount: float

    def operation(self, mask: TileMap, opacity: float, blend: BlendMode) -> Operation:
        return _Invert(self.amount * opacity, mask)

    def extent(self) -> Rect:
        return Rect(0, 0, WIDTH, HEIGHT)

    def mask_within(self) -> TileMap | None:
        return None

    def transformed(self, transform: Transform, scan: TileMap, context: JobContext) -> Content:
        return self

    def maps(self) -> Mapping[str, TileMap]:
        return {}

    def with_maps(self, maps: Mapping[str, TileMap]) -> Content:
        return self

    def settings(self) -> dict[str, object]:
        return {"amount": self.amount}

    @classmethod
    def from_parts(cls, settings: Mapping[str, float], maps: Mapping[str, TileMap]) -> Content:
        return cls(settings["amount"])


@dataclass(frozen=True)
class _Invert(Operation):
    amount: float
    mask: TileMap

    def cells(self) -> set[tuple[int, int]]:
        return set(self.mask.stored)

    def touches(self, cell: tuple[int, int], level: int) -> bool:
        return self.mask.holds(cell, level)

    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        return self.mask.prepare(rect, level, keep_going)

    def render(self, below: np.ndarray, rect: Rect, level: int) -> np.ndarray | None:
        mask = self.mask.read(rect, level)
        return mix(below, np.iinfo(below.dtype).max - below, mask, self.amount) if mask.any() else None

    def inputs(self, cell: tuple[int, int], level: int) -> tuple[tuple[object, ...], tuple[float, ...]]:
        return (self.mask.at(cell, level),), (self.amount,)


def add_inverted_layer(document: Document) -> Layer:
    """Add a layer that inverts a part of the picture, on top of a pixel layer."""
    AddLayer("add", filled_layer(document, Rect(30, 20, 200, 160)), 0).apply(document)
    layer = replace(document.new_layer("adjust"), content=Inverted(1.0))
    AddLayer("add", layer, 1).apply(document)
    paint(document, LayerMask(layer.id), Rect(100, 100, 280, 265), 255).apply(document)
    return document.state.layer(layer.id)


def test_a_layer_may_show_something_else_than_pixels() -> None:
    document = make_document()
    layer = add_inverted_layer(document)
    below = flatten(Composite.of(document.state, below=1))
    expected = below.copy()
    expected[100:265, 100:280] = 65535 - below[100:265, 100:280]
    assert np.array_equal(picture(document), expected)
    cache, rect = ComposeCache(1 << 30), Rect(0, 0, WIDTH, HEIGHT)
    assert np.array_equal(Composite.of(document.state).read(rect, 0, cache), expected)
    SetLayer("opacity", layer, {"opacity": 0.5}).apply(document)
    assert not np.array_equal(Composite.of(document.state).read(rect, 0, cache), expected)
    SetLayer("opacity", layer, {"opacity": 1.0}).apply(document)
    TurnPicture(Turn.LEFT, document.state).apply(document)
    assert np.array_equal(picture(document), np.rot90(expected))
    removal = RemoveLayer("remove", document.state, layer.id)
    removal.apply(document)
    assert np.array_equal(picture(document), np.rot90(below))
    removal.revert(document)
    assert np.array_equal(picture(document), np.rot90(expected))
    merge(document, layer.id).apply(document)
    (only,) = document.state.layers
    assert only.has_pixels
    assert np.array_equal(picture(document), np.rot90(expected))


def test_a_layer_without_pixels_is_kept_by_projects_and_autosave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, Inverted.kind, Inverted)
    document, project = make_document(), tmp_path / "p.ora"
    add_inverted_layer(document)
    write_project(Snapshot.of(document), project)
    assert np.array_equal(picture(open_project(project)), picture(document))
    folder = AutosaveFolder(tmp_path / "autosave")
    opened = open_project(project)
    opened.stamp = file_stamp(project)
    paint(opened, LayerMask(opened.state.layers[1].id), Rect(0, 0, 50, 50), 255).apply(opened)
    folder.autosave(Snapshot.of(opened, OpenedFile(project, opened.stamp)))
    assert np.array_equal(picture(recover(folder.folder).document), picture(opened))
    # A program that does not know the kind refuses to open the project.
    monkeypatch.delitem(KINDS, Inverted.kind)
    with pytest.raises(ReadError, match="inverted"):
        open_project(project)
