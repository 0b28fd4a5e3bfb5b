"""The fuzzed readers: for each one valid files, suitable mutations, and a function that reads a file and uses it.

A reader must either succeed or raise an ``EngineError``. What it accepts is used as in the program: shown, written, and
read again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import zlib
from pathlib import Path
from random import Random

import numpy as np

from desktop.document.compose import Composite, flatten
from desktop.document.model import Document
from desktop.document.opening import open_project
from desktop.document.project import Snapshot, write_project
from desktop.document.recovery import autosaved_source, recover
from desktop.settings import SettingsStore
from desktop.work.flatten import export
from engine import colour, imageio
from engine.batch.reviews import accept, accepted_damage, numbers_of, read_review, write_review
from engine.errors import EngineError, ReadError
from engine.output import Output, check_output
from engine.raster import Raster
from engine.recipes import RECIPES, read_recipe
from engine.record import record_matches
from engine.runtime.cards import Registry, read_card, write_card
from engine.tasks import check_card, try_model
from engine.verify import verify
from tests.fuzz import mutations, seeds
from tests.fuzz.reader import Reader

_WRITTEN_AGAIN = 2_000_000
"""Pictures of at most this many pixels are also written."""


# -- pictures, masks, profiles --------------------------------------------------------------------------------------


def _read_picture(path: Path) -> None:
    imageio.probe(path)
    raster = imageio.read(path)
    if raster.width * raster.height > _WRITTEN_AGAIN:
        return
    suffix = imageio.WRITABLE[zlib.crc32(path.read_bytes()) % len(imageio.WRITABLE)]
    target = path.with_name(f"again{suffix}")
    try:
        imageio.check_size(target, raster.width, raster.height)
    except EngineError:
        return
    imageio.write(raster, target)
    try:
        again = imageio.read(target)
    except EngineError as error:
        raise AssertionError("what was written cannot be read") from error
    assert again.pixels.shape[:2] == raster.pixels.shape[:2]
    if suffix in (".tif", ".tiff", ".png"):
        assert np.array_equal(again.pixels, raster.pixels)
    colour.to_screen(raster.pixels, raster.profile)


def _read_mask(path: Path) -> None:
    mask = imageio.read_mask(path)
    assert mask.dtype == np.uint8
    assert mask.ndim == 2


def _read_profile(path: Path) -> None:
    profile = path.read_bytes()
    for channels in (1, 3):
        if not colour.fits(profile, channels):
            continue
        pixels = seeds.pixels(channels=channels, dtype=np.uint16)
        colour.description(profile)
        colour.looks_like_srgb(profile)
        colour.for_rgb(profile)
        colour.to_screen(pixels, profile)
        space = colour.ModelSpace(profile, channels)
        space.from_model(space.to_model(pixels))
        with contextlib.suppress(EngineError):
            # Some profiles can only be converted from.
            colour.convert(seeds.pixels(), None, profile)
    check_output(Output(path.with_name("o.tif"), profile=str(path)), 8, 8)


# -- projects, autosaves ---------------------------------------------------------------------------------------------


def _use(document: Document, folder: Path) -> None:
    """Show a document, save it, open it again, and export it."""
    composite = Composite.of(document.state)
    colour.to_screen(flatten(composite), document.profile)
    snapshot = Snapshot.of(document)
    write_project(snapshot, folder / "again.ora")
    try:
        open_project(folder / "again.ora")
    except EngineError as error:
        raise AssertionError("what was saved cannot be opened") from error
    export(snapshot, Output(folder / "out.tif"))


def _read_project(path: Path) -> None:
    _use(open_project(path), path.parent)


def _mutate_project(random: Random, data: bytes) -> bytes:
    """Mutate a project; our own part is only read if its digest of the list of layers matches, so that is updated."""
    changed = mutations.archive(random, data)
    if random.random() < 0.3:
        return changed
    try:
        members = mutations.unzipped(changed)
    except Exception:  # noqa: BLE001 - what is no archive any more is as good
        return changed
    own, stack = members.get("lacuna/document.json"), members.get("stack.xml")
    if own is None or stack is None:
        return changed
    digest = hashlib.sha256(stack).hexdigest().encode()
    members["lacuna/document.json"] = re.sub(rb'("stack":\s*")[0-9a-f]{64}', rb"\g<1>" + digest, own)
    return mutations.zipped(members)


def _read_autosave(path: Path) -> None:
    try:
        members = mutations.unzipped(path.read_bytes())
    except Exception as error:  # the archive is only how an autosave folder is kept here
        raise ReadError("This is no autosaved work.", "fuzz.none") from error
    place = path.with_name("place")
    for name, data in members.items():
        target = (place / name).resolve()
        if not target.is_relative_to(place.resolve()) or "\0" in name or len(target.name) > 255:
            continue
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.replace(seeds.SOURCE.encode(), str(place / "source.tif").encode()))
    autosaved_source(place / "autosave")
    _use(recover(place / "autosave").document, place)


def _mutate_autosave(random: Random, data: bytes) -> bytes:
    """Mutate an autosave; tiles are decompressed, changed, and named by their new digest."""
    members = mutations.unzipped(data)
    tiles = [name for name in members if name.endswith(".z")]
    if not tiles or random.random() < 0.6:
        manifest = "autosave/manifest.json"
        changed = mutations.text(random, members[manifest]) if random.random() < 0.8 else None
        return mutations.zipped({**members, manifest: changed}) if changed else mutations.archive(random, data)
    name = random.choice(tiles)
    plain = mutations.any_bytes(random, zlib.decompress(members.pop(name)))
    old, key = Path(name).stem, hashlib.blake2b(plain, digest_size=16).hexdigest()
    if random.random() < 0.2:
        key = old
    members[name.replace(old, key)] = zlib.compress(plain, 1)
    members["autosave/manifest.json"] = members["autosave/manifest.json"].replace(old.encode(), key.encode())
    return mutations.zipped(members)


# -- cards, recipes, settings, records ------------------------------------------------------------------------------


def _read_card(path: Path) -> None:
    shelf = path.with_name("models")
    (shelf / "one").mkdir(parents=True)
    shutil.copyfile(path, shelf / "one" / "card.toml")
    registry = Registry(shelf, path.with_name("none"), check=check_card)
    assert len(registry.cards()) + len(registry.problems()) == 1
    card = read_card(path)
    write_card(card, path.with_name("models"))
    assert read_card(path.with_name("models") / "card.toml") == card
    check_card(card)
    registry.default(card.task)


def _recipes() -> list[bytes]:
    return [path.read_bytes() for path in sorted(RECIPES.glob("*.toml"))]


def _read_recipe(path: Path) -> None:
    recipe = read_recipe(str(path))
    assert recipe.steps


def _settings() -> list[bytes]:
    text = (
        '{"look": {"theme": "dark", "surround": 0.2, "veil": "#8ce62828", "monitor": ""}, "tools": '
        '{"size": 24.0, "hardness": 0.8, "adding": true}, "repair": {"task": "heal", "device": "auto", "tasks": '
        '{"heal": {"model": "", "values": {"feather": 2.0}}}}, "shortcuts": {"open": "Ctrl+O"}, "recent": ["/a.tif"]}'
    )
    return [text.encode(), text.replace('"tasks": {"heal": ', '"values": {"grow": 3.0}, "old": {"x": ').encode()]


def _read_settings(path: Path) -> None:
    """Read the data as the value of a key of the settings file, and as the settings file itself."""
    quoted = path.read_bytes().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b" ")
    path.with_name("settings.ini").write_bytes(b'[General]\nsettings="' + quoted + b'"\n')
    for file in (path.with_name("settings.ini"), path):
        store = SettingsStore(file)
        store.save()
        assert SettingsStore(file).settings == store.settings


def _records() -> list[bytes]:
    repair = '{"task": "heal", "model": "a", "version": "1", "checksum": "", "device": "cpu", "boxes": [[1, 2, 9, 8]]}'
    turned = '"areas": [[0, 0, 5, 5]], "turned": {"mirrored": true, "quarters": 1}, '
    rest = (
        '"source": {"file": "scan.tif", "sha256": "00"}, "samples_changed": 0, '
        '"written": {"file": "a.tif", "sha256": "00", "bytes": 3, "samples_kept": true}}'
    )
    return [f'{{"repairs": [{repair}], {more}{rest}'.encode() for more in ("", turned)]


def _read_record(path: Path) -> None:
    """The picture and its scan are another picture than the record's, so that nothing can fit."""
    picture, scan = path.with_name("a.tif"), path.with_name("scan.tif")
    for target in (picture, scan):
        imageio.write(Raster(seeds.pixels()), target)
    os.replace(path, path.with_name("a.tif.record.json"))
    assert record_matches(picture) in (None, False)
    for source in (None, scan, path.parent):
        assert not verify(picture, source).fits


def _read_review(path: Path) -> None:
    review = read_review(path)
    accepted_damage(review)
    write_review(path, accept(review, "all"))
    assert numbers_of(read_review(path)).to_do == 0
    assert accepted_damage(read_review(path)).repair.task


def _mutate_review(random: Random, data: bytes) -> bytes:
    """Mutate the JSON, or the picture in it."""
    table = json.loads(data)
    if random.random() < 0.6:
        return mutations.text(random, data)
    sheet = mutations.png(random, base64.b64decode(table["damage"]))
    return json.dumps(table | {"damage": base64.b64encode(sheet).decode()}).encode()


def _packets() -> list[bytes]:
    stated = '<e:DigitalSourceType xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">%s</e:DigitalSourceType>'
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="a&amp;b">%s'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    made = imageio.with_source_type(None, imageio.ENHANCED)
    return [made, (packet % "").encode(), (packet % (stated % "print")).encode()]


def _read_packet(path: Path) -> None:
    packet = path.read_bytes()
    try:
        changed = imageio.with_source_type(packet, imageio.COMPOSITE)
    except ValueError as error:
        raise ReadError("This is no XMP packet.", "fuzz.none") from error
    assert imageio.with_source_type(changed, imageio.ENHANCED) == changed


# -- models ---------------------------------------------------------------------------------------------------------


def _mutate_model(random: Random, data: bytes) -> bytes:
    """Mutate the graph of a model: operators, names, attributes, dimensions, constants."""
    import onnx

    members = mutations.unzipped(data)
    if random.random() < 0.25:
        return mutations.zipped({**members, "model.onnx": mutations.any_bytes(random, members["model.onnx"])})
    model = onnx.load_from_string(members["model.onnx"])
    for _ in range(random.choice((1, 1, 2))):
        _change_graph(random, model)
    return mutations.zipped({**members, "model.onnx": model.SerializeToString()})


def _change_graph(random: Random, model: object) -> None:
    graph = model.graph  # type: ignore[attr-defined]
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    act, node = random.random(), random.choice(graph.node)
    if act < 0.2:
        node.op_type = random.choice(
            ("Identity", "Relu", "Add", "Mul", "Div", "Conv", "Resize", "Shape", "Sqrt", "Log")
        )
    elif act < 0.4 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(names)
    elif act < 0.5:
        node.output[0] = random.choice(names)
    elif act < 0.65 and graph.initializer:
        constant = random.choice(graph.initializer)
        if random.random() < 0.5 and constant.dims:
            constant.dims[0] = random.choice(mutations.NUMBERS[:17])
        else:
            constant.raw_data = mutations.any_bytes(random, constant.raw_data)
    elif act < 0.8:
        value = random.choice([*graph.input, *graph.output])
        sides = value.type.tensor_type.shape.dim
        if random.random() < 0.3:
            value.type.tensor_type.elem_type = random.randrange(0, 20)
        elif sides and random.random() < 0.6:
            random.choice(sides).dim_value = random.choice(mutations.NUMBERS[:15])
        elif sides:
            del sides[-1]
    elif act < 0.9:
        attributes = [one for one in node.attribute if one.ints]
        if attributes:
            chosen = random.choice(attributes)
            chosen.ints[0] = random.choice((-1, 0, 1, 5, 1000, 1 << 40))
    else:
        model.opset_import[0].version = random.choice((0, 1, 7, 13, 25, 999))  # type: ignore[attr-defined]


def _read_model(path: Path) -> None:
    try:
        members = mutations.unzipped(path.read_bytes())
    except Exception as error:  # the archive is only how card and model are kept here
        raise ReadError("This is no model.", "fuzz.none") from error
    folder = path.with_name("model")
    folder.mkdir()
    digest = hashlib.sha256(members["model.onnx"]).hexdigest().encode()
    (folder / "model.onnx").write_bytes(members["model.onnx"])
    (folder / "card.toml").write_bytes(re.sub(rb"[0-9a-f]{64}", digest, members["card.toml"]))
    try_model(read_card(folder / "card.toml"))


READERS: dict[str, Reader] = {
    "tiff": Reader(".tif", seeds.tiffs, mutations.tiff, _read_picture),
    "png": Reader(".png", seeds.pngs, mutations.png, _read_picture),
    "jpeg": Reader(".jpg", seeds.jpegs, mutations.jpeg, _read_picture),
    "webp": Reader(".webp", seeds.webps, mutations.webp, _read_picture),
    "bmp": Reader(".bmp", seeds.bmps, mutations.any_bytes, _read_picture),
    "masks": Reader(".mask", seeds.masks, mutations.picture, _read_mask),
    "profiles": Reader(".icc", seeds.profiles, mutations.icc, _read_profile),
    "projects": Reader(".ora", seeds.projects, _mutate_project, _read_project),
    "autosaves": Reader(".zip", seeds.autosaves, _mutate_autosave, _read_autosave),
    "cards": Reader(".toml", seeds.cards, mutations.text, _read_card),
    "recipes": Reader(".toml", _recipes, mutations.text, _read_recipe),
    "settings": Reader(".json", _settings, mutations.text, _read_settings),
    "records": Reader(".json", _records, mutations.text, _read_record),
    "reviews": Reader(".json", seeds.reviews, _mutate_review, _read_review),
    "packets": Reader(".xmp", _packets, mutations.text, _read_packet),
    "models": Reader(".zip", seeds.models, _mutate_model, _read_model),
}
