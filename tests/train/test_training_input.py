"""Training with bad input, full disks, too little memory, and killed or parallel processes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.errors import DeviceError, EngineError, SettingsError
from engine.runtime.cards import read_card
from engine.train.__main__ import main
from engine.train.data.archives import mask_reader
from engine.train.data.batches import Batch
from engine.train.data.crops import Photographs
from engine.train.data.photographs import photograph_paths
from engine.train.recipe import Data, read_training_recipe
from engine.train.run.loop import Budget, fit
from engine.train.run.trainer import Trainer
from tests.train.small import CPU, SMALL, small, sources

# -- bad input and many devices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("system=fils", "fils"),
        ("damage.ageing={rust=1}", "rust"),
        ("adversary.game=chess", "chess"),
        ("losses.cycle=1", "cycle"),
        ("task=paint", "paint"),
        ("schedule.seed=-5", "seed"),
        ("data.share_cap={x=1}", "share_cap"),
    ],
)
def test_unknown_systems_degradations_and_games_are_named(
    override: str, named: str, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(SettingsError, match=named):
        fit(Trainer(small("heal", override), tmp_path, CPU), sources(folder), Budget(0.001), say=lambda _: None)


def test_masks_that_are_missing_or_of_another_size_are_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no mask"):
        mask_reader(tmp_path, folder / "scans")
    cv2.imwrite(str(tmp_path / "photo_00.png"), np.zeros((5, 5), np.uint8))
    lost_in = mask_reader(tmp_path, folder / "scans")
    assert not lost_in(folder / "scans" / "other.jpg", np.zeros((4, 6, 3), np.uint8)).any()
    with pytest.raises(SettingsError, match="another size"):
        lost_in(folder / "scans" / "photo_00.png", np.zeros((70, 90, 3), np.uint8))


def test_when_memory_runs_out_the_batch_is_halved_once_with_a_message(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, said, sizes = small("autoencoder"), list[str](), list[int]()
    trainer = Trainer(recipe, tmp_path, CPU)
    step = trainer.train_step
    enough = [2]

    def hungry(batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        sizes.append(len(batch.photo))
        if len(batch.photo) > enough[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(batch, progress)

    monkeypatch.setattr(trainer, "train_step", hungry)
    fit(trainer, sources(folder), Budget(0.003), say=said.append)
    assert sizes[:2] == [4, 2]
    assert set(sizes[1:]) == {2}
    assert sum("batches of 2" in line for line in said) == 1
    enough[0] = 0
    trainer.elapsed = 0.0
    with pytest.raises(DeviceError, match="smaller"):
        fit(trainer, sources(folder), Budget(0.003), say=said.append)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, folder: Path) -> None:
    trainer = Trainer(small("autoencoder"), tmp_path, CPU)
    trainer.save_step()
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    trainer.step = 5
    (tmp_path / ".step-00000005.pt.partial").mkdir()
    with pytest.raises(EngineError, match="could not be saved"):
        trainer.save_step()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == held


def test_a_killed_training_goes_on_from_its_last_checkpoint(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "autoencoder", "--data", str(folder / "scans"), "--run-dir", str(tmp_path), "--device", "cpu"]
    for setting in (f"network.options={SMALL['autoencoder']}", "data.crop=64", "data.batch=2", "damage.pool=4"):
        words += ["--set", setting]
    words += ["--set", "schedule.validation_crops=4", "--set", "schedule.validate_every=0.05"]
    with subprocess.Popen(
        [sys.executable, "-m", "engine.train", *words, "--minutes", "10"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        told = list(itertools.islice((line for line in running.stdout if line.startswith("step")), 2))
        running.kill()
    last = int(told[-1].split()[1])
    assert main([*words, "--minutes", "10", "--slice", "0.002", "--resume"]) == 0
    said = capsys.readouterr().out
    assert int(said.split("from step ")[1].split()[0]) >= last
    assert int(said.strip().splitlines()[-1].split()[1]) > last


@pytest.mark.parametrize(("name", "crop"), [("dcgan", 128), ("context_encoder", 96), ("partial_convolution", 32)])
def test_crop_sizes_that_a_network_cannot_take_are_an_error(name: str, crop: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.crop = "):
        Trainer(read_training_recipe(name, [f"data.crop={crop}"]), tmp_path, CPU)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_are_an_error(minutes: float) -> None:
    with pytest.raises(SettingsError, match="training time"):
        Budget(minutes)


def test_unusable_files_are_an_error(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    scans = str(folder / "scans")
    short = ["--minutes", "0.001", "--device", "cpu", "--set", f"network.options={SMALL['heal']}"]
    for words in (
        ["fit", "heal", "--data", scans, "--run-dir", str(tmp_path / "file"), "--set", "data.crop=64", *short],
        ["export", str(tmp_path), "-o", str(tmp_path / "out")],
        ["show", "degrade", "--picture", str(tmp_path / "none.png")],
        ["show", "degrade", "--picture", str(tmp_path / "file")],
        ["report", "--pictures", str(tmp_path / "none"), "-o", str(tmp_path / "out")],
        ["age", "--data", scans, "-o", str(tmp_path / "file")],
        ["evaluate", str(tmp_path / "none"), "--data", scans],
    ):
        assert main(words) == 1, words
        said = capsys.readouterr().err.strip()
        assert said.endswith("."), (words, said)
        assert "Traceback" not in said


def test_an_aged_archive_keeps_names_and_has_its_masks(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "photos").mkdir()
    for path in sorted((folder / "scans").iterdir())[:6]:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"rubbish")
    assert main(["age", "--data", str(tmp_path / "photos"), "-o", str(tmp_path / "archive")]) == 0
    scans = sorted((tmp_path / "archive" / "scans").iterdir())
    assert [path.name for path in scans] == [f"photo_{number:02d}.png" for number in range(6)]
    lost_in = mask_reader(tmp_path / "archive" / "masks", tmp_path / "archive" / "scans")
    shares = []
    for path in scans:
        scan, photo = cv2.imread(str(path)), cv2.imread(str(tmp_path / "photos" / path.name))
        lost = lost_in(path, scan) > 0
        shares.append(lost.mean())
        apart = np.abs(scan.astype(float) - photo).mean(axis=2)
        assert apart[lost].mean() > 3 * apart[~lost].mean()
    assert 0.005 < np.mean(shares) < 0.6


def test_lost_pixels_do_not_leak_into_reduced_crops(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(2):
        mask = np.zeros((140, 140), np.uint8)
        for _ in range(6):
            cv2.line(mask, tuple(random.integers(0, 140, 2).tolist()), tuple(random.integers(0, 140, 2).tolist()), 255)
        cv2.imwrite(str(tmp_path / f"scan{number}.png"), np.repeat(mask[..., None], 3, axis=2))
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in tmp_path.glob("*.png"):
        (masks / path.name).write_bytes(path.read_bytes())
    settings = Data(crop=32, zoom_out=4.0)
    paths = sorted(tmp_path.glob("*.png"))
    photographs = Photographs.load(paths, settings, CPU, mask_reader(masks, tmp_path))
    for seed in range(12):
        crops, _ = photographs.draw_crops(4, settings, torch.Generator().manual_seed(seed))
        # Every pixel that is not black is lost; none of them may count as known in a crop.
        assert not (crops[:, :3] * (1 - crops[:, 3:])).any()


def test_small_folders_still_have_something_to_validate_on(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"a{number}.png"), np.zeros((8, 8, 3), np.uint8))
        if number:
            held_out = photograph_paths(tmp_path, validation=True)
            assert held_out
            assert len(held_out) + len(photograph_paths(tmp_path, validation=False)) == number + 1


def test_two_processes_train_as_one(tmp_path: Path, folder: Path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "engine.train"]
    words += ["fit", "autoencoder", "--data", str(folder / "scans"), "--run-dir", str(tmp_path), "--minutes", "0.03"]
    words += ["--device", "cpu", "--set", f"network.options={SMALL['autoencoder']}", "--set", "data.crop=64"]
    words += ["--set", "data.batch=2", "--set", "damage.pool=4", "--set", "schedule.validation_crops=4"]
    words += ["--set", "adversary.weight=0.01", "--set", "adversary.start=0.3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    card = read_card(tmp_path / "autoencoder" / "card.toml")
    assert card.training.machine.startswith("2 x CPU")
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert "discriminator" in rows[-1]
    assert done.stdout.count("photographs on") == 1
