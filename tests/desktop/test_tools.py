"""Tools without a window: strokes, shapes and whole-mask commands on a document."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.document.compose import Composite, flatten
from desktop.document.edits import AddLayer, Compound, Paint
from desktop.document.model import Document
from desktop.document.targets import REPAIR_MASK, LayerMask, LayerPixels, Target
from desktop.tools.base import BrushSettings, Cursor, PointerEvent, Tool, ToolContext
from desktop.tools.brush import BrushTool, EraserTool, SpotHealTool, Stroke, coverage
from desktop.tools.navigate import HandTool, ZoomTool
from desktop.tools.select import LassoTool, RectangleTool, filter_mask, replace_mask
from desktop.tools.table import TOOLS, make_tools
from engine import masks
from engine.raster import Raster, Rect
from engine.resources import resource
from engine.tiles import TileDelta, TileEdit, TileMap
from tests.document.test_edits import filled_layer


class FakeContext:
    """A tool context with a document, without a window."""

    def __init__(self) -> None:
        self.document = Document(Raster(np.zeros((300, 400, 3), np.uint8)))
        self.brush = BrushSettings(size=20, hardness=1.0)
        self.adding = True
        self.target: Target = REPAIR_MASK
        self.painted: list[str] = []
        self.spots: list[TileMap] = []
        self.shown: object = None
        self.moves: list[tuple[float, ...]] = []

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        self.shown = edits

    def show_spot(self, edit: TileEdit | None) -> None:
        self.shown = edit

    def cancel_live(self) -> None:
        self.shown = None

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        paints = [Paint(label, target, delta) for target, delta in deltas.items() if delta]
        if paints:
            self.painted.append(label)
            Compound(label, paints).apply(self.document)

    def heal_spot(self, mask: TileMap) -> None:
        self.spots.append(mask)

    def scroll(self, dx: float, dy: float) -> None:
        self.moves.append((dx, dy))

    def zoom(self, x: float, y: float, steps: int) -> None:
        self.moves.append((x, y, steps))

    def choose(self, x: float, y: float) -> None:
        self.moves.append((x, y))

    def mask(self) -> np.ndarray:
        tiles = self.document.state.mask
        return tiles.read(tiles.bounds)


def drag(tool: Tool, context: FakeContext, points: list[tuple[float, float]], **modifiers: bool) -> None:
    tool.press(context, PointerEvent(*points[0], **modifiers))
    for point in points[1:]:
        tool.move(context, PointerEvent(*point, **modifiers))
    tool.release(context, PointerEvent(*points[-1], **modifiers))


def test_a_hard_dab_is_a_disc_of_its_size() -> None:
    for size in (1, 2, 7, 20, 151):
        radius = size / 2
        shape = coverage(Rect(0, 0, 200, 200), (100.0, 100.0, radius), (100.0, 100.0, radius), 1.0)
        assert shape.sum() == pytest.approx(np.pi * radius**2, rel=0.05 if size > 2 else 0.5)
        y, x = np.mgrid[0:200, 0:200] + 0.5
        distance = np.hypot(x - 100, y - 100)
        assert (shape[distance <= radius - 1] == 1).all()
        assert (shape[distance >= radius + 1] == 0).all()


def test_hardness_softens_the_edge_inwards() -> None:
    rect = Rect(0, 0, 200, 200)
    widths = [(coverage(rect, (100.0, 100.0, 50.0), (100.0, 100.0, 50.0), h) > 0.99).sum() for h in (0.0, 0.5, 1.0)]
    assert widths == sorted(widths)
    soft = coverage(rect, (100.0, 100.0, 50.0), (100.0, 100.0, 50.0), 0.0)
    assert soft[100, 151:].max() < 0.01
    assert (np.diff(soft[100, 100:]) <= 1e-6).all()


@given(st.lists(st.tuples(st.floats(-30, 430), st.floats(-30, 330)), min_size=2, max_size=6), st.integers(1, 4))
def test_a_stroke_does_not_depend_on_how_often_the_pointer_reports(
    corners: list[tuple[float, float]], pieces: int
) -> None:
    def paint_points(points: list[tuple[float, float]]) -> np.ndarray:
        source = TileMap.empty((300, 400), np.uint8)
        stroke = Stroke(source.edit(), BrushSettings(size=16, hardness=0.5), adding=True)
        for x, y in points:
            stroke.line_to(PointerEvent(x, y))
        return stroke.edit.preview().read(source.bounds).astype(int)

    fine = [corners[0]]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        fine += [(x0 + (x1 - x0) * i / pieces, y0 + (y1 - y0) * i / pieces) for i in range(1, pieces + 1)]
    assert np.abs(paint_points(corners) - paint_points(fine)).max() <= 2


def test_opacity_caps_the_whole_stroke_and_strokes_add_up() -> None:
    context = FakeContext()
    context.brush.opacity = 0.5
    tool = BrushTool()
    drag(tool, context, [(100, 100), (140, 100), (100, 100), (140, 100)])
    assert context.mask().max() == 128
    drag(tool, context, [(100, 100), (140, 100)])
    assert context.mask()[100, 120] == 192
    assert context.painted == ["Brush", "Brush"]


def test_a_stroke_outside_the_picture_is_no_step() -> None:
    context = FakeContext()
    drag(BrushTool(), context, [(-200, -200), (-100, -150)])
    assert context.painted == []


def test_cancel_leaves_nothing() -> None:
    for tool in (BrushTool(), EraserTool(), SpotHealTool(), RectangleTool(), LassoTool(), HandTool()):
        context = FakeContext()
        tool.press(context, PointerEvent(50, 50))
        tool.move(context, PointerEvent(90, 90))
        tool.cancel(context)
        tool.release(context, PointerEvent(90, 90))
        assert not context.mask().any()
        assert context.spots == []
        assert tool.outline() == []


def test_the_target_is_a_layers_mask_when_one_is_chosen() -> None:
    context = FakeContext()
    layer = filled_layer(context.document, Rect(0, 0, 100, 100), 1, 0)
    AddLayer("add", layer, 0).apply(context.document)
    context.target = LayerMask(layer.id)
    drag(BrushTool(), context, [(50, 50), (60, 50)])
    assert not context.mask().any()
    assert LayerMask(layer.id).read(context.document.state).read(Rect(55, 50, 56, 51)) == 255


def test_a_layers_mask_is_painted_only_where_the_layer_has_pixels() -> None:
    context = FakeContext()
    layer = filled_layer(context.document, Rect(0, 0, 100, 100), 1, 0)
    AddLayer("add", layer, 0).apply(context.document)
    context.target = LayerMask(layer.id)
    drag(BrushTool(), context, [(50, 50), (390, 50)])
    mask = LayerMask(layer.id).read(context.document.state)
    assert set(mask.stored) == set(layer.pixels.stored)


class DabTool(Tool):
    """Paints grey pixels and their mask on a layer, as a clone stamp would."""

    id = "dab"
    label = "Dab"

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        target = context.target
        assert isinstance(target, LayerPixels)
        pixels = target.edit(context.document.state)
        mask = LayerMask(target.layer).read(context.document.state).edit()
        square = Rect(int(event.x), int(event.y), int(event.x) + 10, int(event.y) + 10)
        pixels.change(square, lambda view, _: view.fill(77))
        mask.change(square, lambda view, _: view.fill(255))
        context.show_live({target: pixels, LayerMask(target.layer): mask})
        self._edits = {target: pixels, LayerMask(target.layer): mask}

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        del event
        context.paint(self.label, {target: edit.commit() for target, edit in self._edits.items()})


def test_a_tool_can_paint_the_pixels_of_a_layer() -> None:
    context = FakeContext()
    layer = context.document.new_layer("empty")
    AddLayer("add", layer, 0).apply(context.document)
    context.target = LayerPixels(layer.id)
    drag(DabTool(), context, [(20, 30)])
    painted = flatten(Composite.of(context.document.state))
    assert (painted[30:40, 20:30] == 77).all()
    painted = painted.copy()
    painted[30:40, 20:30] = 0
    assert not painted.any()
    assert context.painted == ["Dab"]


def test_spot_heal_hands_over_a_mask_of_its_own() -> None:
    context = FakeContext()
    drag(SpotHealTool(), context, [(50, 50), (60, 50)])
    assert not context.mask().any()
    (spot,) = context.spots
    assert spot.read(Rect(55, 50, 56, 51)) == 255
    assert context.shown is None


def test_a_rectangle_snaps_to_pixels_and_is_square_with_shift() -> None:
    context = FakeContext()
    tool = RectangleTool()
    drag(tool, context, [(10.4, 20.6), (30.2, 50.9)])
    expected = np.zeros_like(context.mask())
    expected[21:51, 10:30] = 255
    assert np.array_equal(context.mask(), expected)
    context = FakeContext()
    drag(tool, context, [(100, 100), (140, 80)], shift=True)
    assert (context.mask() > 0).sum() == 40 * 40
    drag(tool, context, [(100, 100), (100, 100)])
    assert len(context.painted) == 1


def test_a_shape_that_hangs_over_the_edge_is_clipped() -> None:
    context = FakeContext()
    drag(RectangleTool(), context, [(-50, -50), (20, 30)])
    assert (context.mask() > 0).sum() == 600
    drag(LassoTool(), context, [(350, 250), (500, 250), (500, 400), (350, 400)])
    assert context.mask()[299, 399] == 255


def test_hand_and_zoom_move_the_view_only() -> None:
    context = FakeContext()
    drag(HandTool(), context, [(50, 50), (45, 40)])
    assert context.moves == [(5, 10)]
    drag(ZoomTool(), context, [(7, 8)])
    drag(ZoomTool(), context, [(7, 8)], alt=True)
    assert context.moves[1:] == [(7, 8, 1), (7, 8, -1)]
    assert context.painted == []


def test_cursors_say_what_the_tool_does() -> None:
    brush = BrushSettings(size=33)
    assert BrushTool().cursor(brush, adding=True) == Cursor(33, adding=True)
    assert EraserTool().cursor(brush, adding=True) == Cursor(33, adding=False)
    assert HandTool().cursor(brush, adding=True).shape == "hand"
    assert ZoomTool().cursor(brush, adding=True).shape == "zoom"
    assert Tool().cursor(brush, adding=True).diameter is None


def test_whole_mask_commands() -> None:
    context = FakeContext()
    drag(RectangleTool(), context, [(100, 100), (140, 140)])
    state = context.document.state
    filter_mask(state, REPAIR_MASK, "Grow", lambda mask: masks.grow(mask, 5), 5).apply(context.document)
    whole = np.zeros((300, 400), np.uint8)
    whole[100:140, 100:140] = 255
    assert np.array_equal(context.mask(), masks.grow(whole, 5))
    filter_mask(context.document.state, REPAIR_MASK, "Invert", masks.invert, float("inf")).apply(context.document)
    assert np.array_equal(context.mask(), masks.invert(masks.grow(whole, 5)))
    replace_mask(context.document.state, REPAIR_MASK, "Load", whole).apply(context.document)
    assert np.array_equal(context.mask(), whole)
    nothing = FakeContext()
    assert filter_mask(nothing.document.state, REPAIR_MASK, "Grow", lambda mask: masks.grow(mask, 5), 5) is None


@pytest.mark.parametrize("how", [masks.grow, masks.shrink, masks.feather])
@pytest.mark.parametrize("values", [[255], [60, 255]])
def test_a_command_tile_by_tile_is_the_same_as_on_the_whole(how: Callable[..., np.ndarray], values: list[int]) -> None:
    whole = np.zeros((300, 400), np.uint8)
    for number, left in enumerate((20, 190, 251, 300)):
        whole[number * 60 + 20 : number * 60 + 60, left : left + 30] = values[number % len(values)]
    context = FakeContext()
    replace_mask(context.document.state, REPAIR_MASK, "Load", whole).apply(context.document)
    soft = {"soft": masks.is_soft(context.document.state.mask)} if how is masks.feather else {}
    filter_mask(context.document.state, REPAIR_MASK, "x", lambda mask: how(mask, 7, **soft), 7).apply(context.document)
    assert np.array_equal(context.mask(), how(whole, 7))


def test_every_tool_that_is_offered_is_made_and_has_its_icon() -> None:
    assert [row.id for row in TOOLS] == list(dict.fromkeys(row.id for row in TOOLS))
    assert {row.id for row in TOOLS} == set(make_tools())
    assert all(resource("icons", f"{row.id}.svg").is_file() for row in TOOLS)
