"""``lacuna doctor``: what it finds out, that it tests every model, and what it advises."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QSettings

from engine import cli, doctor
from engine.doctor import Diagnosis, ModelTest, Trial, advise, examine
from engine.errors import ModelError
from engine.jobs import Cancelled, JobContext
from engine.recipes import read_recipe
from engine.runtime import driver, session
from engine.runtime.cards import Registry
from engine.runtime.driver import Driver, GraphicsCard, nvidia_driver
from engine.runtime.session import Device, Library, Session, SessionPool
from engine.tasks import base, check_card
from tests import tiny_models
from tests.tiny_models import PICTURE, RESULT, node, save, stage

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
BUILT = Library("onnxruntime-gpu", "1.31.1", "13.0", (CUDA, CPU))
DRIVER = Driver("580.65.06", "13.0", (GraphicsCard("NVIDIA H100", 80 << 30, 79 << 30),))


@pytest.fixture(autouse=True)
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a computer without a graphics card, and with sessions of its own."""
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: None)
    monkeypatch.setattr(session, "available_devices", lambda: [Device.CPU])
    monkeypatch.setattr(base, "SESSIONS", SessionPool())


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a computer with a graphics card: what runs on it is computed by the processor."""

    def providers(this: Session) -> tuple[str, ...]:
        return (CUDA, CPU) if this.device is Device.CUDA else (CPU,)

    monkeypatch.setattr(doctor, "nvidia_driver", lambda: DRIVER)
    monkeypatch.setattr(Session, "providers", property(providers))
    load = session._load

    def loaded(card: Any, part: Any, device: Device) -> Session:
        made = load(card, part, Device.CPU)
        made.device = Device.CPU if device is Device.CPU else Device.CUDA
        return made

    monkeypatch.setattr(session, "_load", loaded)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model of each kind."""
    folder = tmp_path / "models"
    for make in (tiny_models.smoother, tiny_models.dimmer, tiny_models.toner, tiny_models.finder, tiny_models.edger):
        make(folder)
    for make in (tiny_models.prior, tiny_models.enlarger, tiny_models.spotter, tiny_models.cleaner):
        make(folder)
    tiny_models.masker(folder, 0)
    return folder


def looked(folder: Path, context: JobContext | None = None) -> Diagnosis:
    return examine(Registry(folder, folder / "none", check=check_card), context)


def constant(folder: Path, id_: str, value: float) -> None:
    """A model whose result is one number everywhere."""
    nodes = [node("Mul", "picture zero", "nothing"), node("Add", "nothing value", "result")]
    numbers = {"zero": np.zeros(1, np.float32), "value": np.full(1, value, np.float32)}
    save(folder, id_, "clean", stage(folder / id_, "model.onnx", nodes, (PICTURE,), (RESULT,), **numbers))


def unsteady(folder: Path) -> None:
    """A model whose result is another one in each run."""
    nodes = [node("RandomUniformLike", "picture", "result")]
    save(folder, "unsteady", "clean", stage(folder / "unsteady", "model.onnx", nodes, (PICTURE,), (RESULT,)))


def test_every_kind_of_model_is_tested_on_the_processor(models: Path) -> None:
    shown: list[str] = []
    found = looked(models, JobContext(lambda _, step: shown.append(step)))
    assert [test.problem for test in found.tests] == [None] * 10
    assert {test.id for test in found.tests} <= set(shown)
    for test in found.tests:
        (trial,) = test.trials
        assert (trial.device, trial.providers, trial.difference) == (Device.CPU, (CPU,), None)
        assert trial.megapixels > 0
        assert trial.side == (64 if test.id == "prior" else 96)
    assert (found.used, found.failed, found.driver) == ((CPU,), 0, None)
    assert "nothing to compare" in str(found.advice[0])
    assert found.memory.total > found.memory.available > found.memory.own > 0


def test_models_that_fail(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    tiny_models.darker(folder)
    constant(folder, "endless", float("nan"))
    unsteady(folder)
    tiny_models.smoother(folder)
    (folder / "smoother" / "model.onnx").write_bytes(b"other")
    (folder / "broken").mkdir()
    (folder / "broken" / "card.toml").write_text("id = 3")
    found = looked(folder)
    failed = {test.id: getattr(test.problem, "code", "") for test in found.tests}
    assert failed == {
        "darker": "",
        "endless": "model.numbers",
        "smoother": "model.checksum",
        "unsteady": "doctor.unsteady",
    }
    assert [problem.code for problem in found.problems] == ["model.card"]
    assert found.failed == 4


@pytest.mark.usefixtures("card")
def test_models_are_compared_on_the_graphics_card(models: Path) -> None:
    found = looked(models)
    assert found.failed == 0
    for test in found.tests:
        assert [trial.device for trial in test.trials] == [Device.CPU, Device.CUDA]
        assert test.trials[1].difference == 0
        assert test.trials[1].megapixels > 0
    assert found.used == (CPU, CUDA)
    assert [str(sentence) for sentence in found.advice] == ["The models run on the graphics card."]


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(("error", "passes"), [(0.019, True), (0.021, False)])
def test_another_result_on_the_graphics_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float, passes: bool
) -> None:
    folder, run = tmp_path / "models", Session.run
    tiny_models.darker(folder)

    def wrong(this: Session, *arguments: Any) -> list[np.ndarray]:
        results = run(this, *arguments)
        if this.device is Device.CUDA:
            results[0][0, 0, 5, 5] += np.float32(error)
        return results

    monkeypatch.setattr(Session, "run", wrong)
    found = looked(folder)
    (test,) = found.tests
    assert test.trials[1].difference == pytest.approx(error, abs=1e-5)
    assert (test.problem is None, found.failed) == (passes, int(not passes))
    assert any("darker" in str(sentence) for sentence in found.advice) is not passes


@pytest.mark.usefixtures("card")
def test_a_session_that_gives_the_graphics_card_up_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    tiny_models.darker(folder)
    monkeypatch.setattr(Session, "providers", property(lambda _: (CPU,)))
    monkeypatch.setattr(doctor, "missing_cuda_file", lambda: "")
    monkeypatch.setattr(doctor, "library", lambda: BUILT)
    found = looked(folder)
    assert [trial.device for trial in found.tests[0].trials] == [Device.CPU]
    assert "fell back" in str(found.advice[1])


def run(id_: str, *devices: Device, fails: bool = False) -> ModelTest:
    trials = tuple(Trial(device, (CUDA if device is Device.CUDA else CPU,), 64, 1.0) for device in devices)
    return ModelTest(id_, "heal", trials, ModelError("It fails.", "test") if fails else None)


SLOW, FAST = run("slow", Device.CPU), run("fast", Device.CPU, Device.CUDA)


@pytest.mark.parametrize(
    ("library", "found", "tests", "missing", "words"),
    [
        (BUILT, None, [SLOW], "", ["No graphics card", "driver"]),
        (BUILT, Driver("1", "13.0", ()), [SLOW], "", ["No graphics card", "driver"]),
        (Library("onnxruntime", "1.31.1", "", (CPU,)), DRIVER, [SLOW], "", ["run on the processor", "pip uninstall"]),
        (BUILT, Driver("550.1", "12.4", DRIVER.cards), [SLOW], "x.so", ["run on the processor", "newer driver"]),
        (BUILT, DRIVER, [SLOW], "libcublasLt.so.13", ["run on the processor", "libcublasLt.so.13"]),
        (BUILT, DRIVER, [SLOW], "", ["run on the processor", "fell back"]),
        (
            BUILT,
            DRIVER,
            [SLOW, FAST],
            "",
            ["fell back to the processor, although others run on the graphics card: slow"],
        ),
        (BUILT, DRIVER, [FAST], "", ["The models run on the graphics card"]),
        (
            BUILT,
            DRIVER,
            [run("bad", Device.CPU, Device.CUDA, fails=True)],
            "",
            ["run on the graphics card", "--device cpu): bad"],
        ),
    ],
)
def test_advice(library: Library, found: Driver | None, tests: list[ModelTest], missing: str, words: list[str]) -> None:
    said = [str(sentence) for sentence in advise(library, found, tests, missing)]
    assert len(said) == len(words)
    for sentence, word in zip(said, words, strict=True):
        assert word in sentence
        assert sentence.endswith(".")


def test_cancelling_stops_before_the_next_model(models: Path) -> None:
    context = JobContext(lambda _, step: shown.append(step) or (context.cancel() if len(shown) == 2 else None))
    shown: list[str] = []
    with pytest.raises(Cancelled):
        looked(models, context)
    assert len(shown) == 2


class Nvml:
    """NVML with two graphics cards, of which the second is lost."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.open = fails, 0

    def __getattr__(self, name: str) -> Any:
        if self.fails == f"lacks {name}" or not name.startswith("nvml"):
            raise AttributeError(name)
        answer = getattr(type(self), name.removeprefix("nvml").lower())
        return lambda *arguments: 9 if name == self.fails else answer(self, *arguments)

    def init_v2(self) -> int:
        self.open += 1
        return 0

    def shutdown(self) -> int:
        self.open -= 1
        return 0

    def systemgetdriverversion(self, text: Any, size: Any) -> int:
        ctypes.memmove(text, b"580.65.06\0", 10)
        assert size.value >= 80
        return 0

    def systemgetcudadriverversion_v2(self, number: Any) -> int:
        number._obj.value = 13010
        return 0

    def devicegetcount_v2(self, number: Any) -> int:
        number._obj.value = 2
        return 0

    def devicegethandlebyindex_v2(self, index: Any, handle: Any) -> int:
        handle._obj.value = 77
        return 15 if index.value == 1 else 0

    def devicegetname(self, handle: Any, text: Any, _size: Any) -> int:
        assert handle.value == 77
        ctypes.memmove(text, b"NVIDIA H100\0", 12)
        return 0

    def devicegetmemoryinfo(self, _handle: Any, memory: Any) -> int:
        memory._obj.total, memory._obj.free = 80 << 30, 79 << 30
        return 0


def test_the_driver_is_asked() -> None:
    nvml = Nvml()
    assert nvidia_driver(nvml) == Driver("580.65.06", "13.1", DRIVER.cards)
    assert nvml.open == 0
    for fails in ("nvmlInit_v2", "nvmlSystemGetDriverVersion", "lacks nvmlDeviceGetCount_v2"):
        nvml = Nvml(fails)
        assert nvidia_driver(nvml) is None
        assert nvml.open == 0


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> None:
        raise OSError

    monkeypatch.setattr(driver.ctypes, "CDLL", none)
    assert nvidia_driver() is None


def test_the_file_that_cuda_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "capi").mkdir()
    part = tmp_path / "capi" / "libonnxruntime_providers_cuda.so"
    said = "libcublasLt.so.13: cannot open shared object file: No such file or directory"

    def refuse(_: str) -> None:
        raise OSError(said)

    module = ModuleType("onnxruntime")
    module.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setattr(session, "_library", lambda: module)
    monkeypatch.setattr(session.ctypes, "CDLL", refuse)
    assert session.missing_cuda_file() == ""
    part.touch()
    assert session.missing_cuda_file() == "libcublasLt.so.13"
    said = f"{part}: undefined symbol: Provider_GetHost"
    assert session.missing_cuda_file() == ""


def test_the_library_and_the_places(tmp_path: Path) -> None:
    library = session.library()
    assert CPU in library.providers
    assert library.version
    places = looked(tmp_path / "models").places
    assert (places.added_models, places.models) == (tmp_path / "models", tmp_path / "models" / "none")
    assert places.recipes == read_recipe("standard").file.parent
    store = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "lacuna", "lacuna")
    assert places.settings == Path(store.fileName())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the only models that commands see."""
    folder = tmp_path / "models"
    monkeypatch.setattr("engine.cli.doctor.usable_models", lambda: Registry(folder, folder / "none", check=check_card))
    return folder


def test_the_command(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_models.darker(installed)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for words in (
        "really used    CPUExecutionProvider",
        "ok     darker  clean    cpu ",
        str(installed),
        "nothing to compare",
    ):
        assert words in said
    assert cli.main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["passed"] is True
    assert facts["providers"]["used"] == [CPU]
    (model,) = facts["models"]
    assert (model["id"], model["passed"], model["devices"][0]["device"]) == ("darker", True, "cpu")
    assert facts["places"]["added_models"] == str(installed)


def test_the_command_when_a_model_fails(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    constant(installed, "endless", float("inf"))
    tiny_models.darker(installed)
    assert cli.main(["doctor"]) == 1
    said, err = capsys.readouterr()
    assert "FAILED endless" in said
    assert "no numbers" in said
    assert err == "1 of 2 models fail.\n"
    assert cli.main(["doctor", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["passed"], [model["passed"] for model in facts["models"]]) == (False, [True, False])


def test_the_command_without_models(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "No model is installed.\n"


@pytest.mark.usefixtures("card")
def test_the_command_with_a_graphics_card(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_models.darker(installed)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for words in ("580.65.06, CUDA up to 13.0", "NVIDIA H100, 84.8 of 85.9 GB free", "; cuda ", "differs by 0.0000"):
        assert words in said
    assert cli.main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["driver"]["cards"][0]["name"] == "NVIDIA H100"
    assert facts["models"][0]["devices"][1]["difference"] == 0
