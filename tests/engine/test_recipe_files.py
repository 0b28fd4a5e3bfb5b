"""Recipe files: read, refused with the line of the fault, and the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine import cli
from engine.errors import SettingsError, WriteError
from engine.recipes import (
    Recipe,
    Step,
    delete_recipe,
    free_name,
    import_recipe,
    read_recipe,
    recipe_names,
    save_recipe,
)
from tests.engine.test_recipes import HEAD, step


def test_the_recipes_that_ship_can_be_read() -> None:
    assert recipe_names() == ["gentle", "standard", "strong"]
    steps = {name: [step.task for step in read_recipe(name).steps] for name in recipe_names()}
    assert steps["gentle"] == ["detect", "heal"]
    assert steps["standard"] == steps["strong"] == ["detect", "heal", "clean", "tone"]
    for name in recipe_names():
        recipe = read_recipe(name)
        assert recipe.name == name
        assert recipe.title
        assert recipe.summary.endswith(".")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "line 1: Invalid value."),
        (HEAD + step("clean") + "\nmodel 3\n", "line 6: Expected '=' after a key in a key/value pair."),
        (HEAD + "summary = '\xff'", "line 2: it is not text in UTF-8."),
        (HEAD, "steps is missing."),
        (HEAD + "steps = []", "line 2: it has no steps."),
        ('[[steps]]\ntask = "clean"', "title is missing."),
        (HEAD + 'colour = "red"\n' + step("clean"), "line 2: unknown entry colour."),
        (HEAD + step("clean") + "[colour]\nred = 1", "line 5: unknown entry colour."),
        ("title = 3\n" + step("clean"), "line 1: title must be of type str, not 3."),
        (HEAD + "[[steps]]\nmodel = 'x'", "line 2: steps[0].task is missing."),
        (HEAD + step("polish"), "line 3: 'polish' is no step of a recipe; these are: heal, clean, tone, detect."),
        (HEAD + step("tone") + step("upscale"), "line 6: 'upscale' is no step"),
        (HEAD + step("clean", nois=1), "line 4: clean has no setting 'nois'; it has strength, noise_level."),
        # Written in other ways.
        (HEAD + step("tone") + "[[ 'steps' ]]\ntask='clean'\n[steps.settings]\n\nnois = 1", "line 9: clean has no"),
        (HEAD + '[[steps]]\ntask = "clean"  # nois = 1\nsettings.nois = 1', "line 4: clean has no setting"),
        (HEAD + 'steps = [{ task = "tone" }, { task = "clean", settings = { nois = 1 } }]', "step 2: clean has no"),
        (HEAD + 'summary = """\n[[steps]]\n"""\n' + step("polish"), "step 1: 'polish' is no step"),
        (HEAD + step("clean", strength=7), "line 4: Strength goes from 0 to 1."),
        (HEAD + step("clean", strength=float("nan")), "line 4: Strength goes from 0 to 1."),
        (
            HEAD + '[[steps]]\ntask = "clean"\nsettings = { strength = "much" }',
            "line 4: steps[0].settings.strength must",
        ),
        (HEAD + '[[steps]]\ntask = "clean"\nmodle = "x"', "line 4: unknown entry steps[0].modle."),
        (HEAD + step("heal") + step("detect"), "line 3: heal needs a step that finds damage (detect) before it"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as raised:
        read_recipe(str(tmp_path / "mine.toml"))
    assert raised.value.text().startswith(f"The recipe mine.toml cannot be used: {said}")
    assert raised.value.text().endswith(".")


def test_the_error_about_a_missing_recipe_lists_the_recipes(tmp_path: Path) -> None:
    for name in ("none", str(tmp_path / "none.toml")):
        with pytest.raises(SettingsError, match="Recipes: gentle, standard, strong"):
            read_recipe(name)


def test_an_own_recipe_is_found_by_its_name_and_never_hides_one_that_ships(
    tmp_path: Path, own_recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(
        "", "Glass \u201cplates\u201d\\", (Step("clean", "x", {"strength": 0.25}), Step("tone")), "Two lines"
    )
    name = free_name(recipe.title)
    assert name == "glass-plates"
    data = save_recipe(recipe, name, None)
    assert recipe_names() == ["gentle", "standard", "strong", "glass-plates"]
    again = read_recipe(name)
    assert replace(again, name="") == recipe
    assert again.file == own_recipes / "glass-plates.toml"
    assert again.file.read_bytes() == data
    assert free_name("Glass plates!") == "glass-plates-2"
    # What somebody else wrote meanwhile is kept.
    again.file.write_bytes(data + b"# mine\n")
    with pytest.raises(WriteError, match="changed by another program"):
        save_recipe(replace(recipe, title="Other"), name, data)
    assert again.file.read_bytes() == data + b"# mine\n"
    assert cli.main(["recipes"]) == 0
    assert "glass-plates  Two lines\n" in capsys.readouterr().out
    # Recipes that ship.
    (own_recipes / "gentle.toml").write_bytes(data)
    assert recipe_names() == ["gentle", "standard", "strong", "glass-plates"]
    assert read_recipe("gentle").title == "Gentle"
    for change in (lambda: save_recipe(recipe, "Gentle", None), lambda: delete_recipe("gentle")):
        with pytest.raises(SettingsError, match="comes with Lacuna"):
            change()
    # Files from elsewhere keep their comments, and bad ones are refused with their line.
    (tmp_path / "gentle.toml").write_text("# why\n" + HEAD + step("tone"))
    assert import_recipe(tmp_path / "gentle.toml") == "gentle-2"
    assert (own_recipes / "gentle-2.toml").read_text().startswith("# why")
    (tmp_path / "bad.toml").write_text(HEAD + step("heal"))
    with pytest.raises(SettingsError, match="line 3: heal needs"):
        import_recipe(tmp_path / "bad.toml")
    delete_recipe("glass-plates")
    assert recipe_names() == ["gentle", "standard", "strong", "gentle-2"]
