"""Recipes: ordered lists of tasks with settings, in TOML, for the window and the command line."""

from __future__ import annotations

from engine.recipes.files import (
    RECIPES,
    Recipe,
    Step,
    is_shipped,
    parse_recipe,
    read_recipe,
    recipe_file,
    recipe_names,
    recipe_toml,
    step_problem,
)
from engine.recipes.own import delete_recipe, free_name, import_recipe, save_recipe
from engine.recipes.run import (
    FoundDamage,
    RestoreResult,
    choose_models,
    left_alone,
    notices_of_unsure,
    refusal_to_heal,
    run_recipe,
)

__all__ = [
    "RECIPES",
    "FoundDamage",
    "Recipe",
    "RestoreResult",
    "Step",
    "choose_models",
    "delete_recipe",
    "free_name",
    "import_recipe",
    "is_shipped",
    "left_alone",
    "notices_of_unsure",
    "parse_recipe",
    "read_recipe",
    "recipe_file",
    "recipe_names",
    "recipe_toml",
    "refusal_to_heal",
    "run_recipe",
    "save_recipe",
    "step_problem",
]
