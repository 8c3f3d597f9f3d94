"""`convgate recipe`: read a recipe, start a new one, look up a key."""

from pathlib import Path
from typing import Annotated

import typer

from convgate.cli import options
from convgate.cli.main import app, examples
from convgate.cli.output import show as print_rows
from convgate.errors import InputError

recipe = typer.Typer(
    no_args_is_help=True,
    help="Show a recipe, start a new one, or look up its keys.",
    epilog=examples("convgate recipe new my.toml", "convgate recipe keys optimizer"),
)
app.add_typer(recipe, name="recipe")


@recipe.command(epilog=examples("convgate recipe show cifar10/study > my.toml"))
def show(name: options.RecipeName) -> None:
    """Print a recipe as it is written, with its remarks."""
    from convgate.train.recipe import load_recipe, recipe_file

    load_recipe(name)  # what is not a recipe is said in one sentence
    typer.echo(recipe_file(name).read_text(encoding="utf-8"), nl=False)


@recipe.command(
    epilog=examples(
        "convgate recipe new my.toml", "convgate recipe new boxes.toml --like pennfudan/yolof"
    )
)
def new(
    file: Annotated[Path, typer.Argument(help="The file to write, ending in .toml.")],
    like: Annotated[
        str, typer.Option(help="The recipe whose values it starts with, by name or file.")
    ] = "digits/demo",
    force: options.Force = False,
) -> None:
    """Write a recipe to start from: every key with type, default and meaning."""
    from convgate.storage import check_free, write_text
    from convgate.train.keys import commented
    from convgate.train.recipe import load_recipe

    if file.suffix != ".toml":
        raise InputError(f"{file}: a recipe's name ends in .toml")
    check_free(file, force)
    write_text(file, commented(load_recipe(like)))
    typer.echo(f"{file}\nchange it, then: convgate train {file} --out run")


@recipe.command(epilog=examples("convgate recipe keys", "convgate recipe keys warmup"))
def keys(
    part: Annotated[str, typer.Argument(help="Part of a key, such as optimizer or lr.")] = "",
    as_json: options.Json = False,
) -> None:
    """Every key that a recipe and --set take."""
    from convgate.train.keys import list_keys

    found = [key for key in list_keys() if part in key.dotted]
    if not found:
        raise InputError(f"no key holds {part!r}; `convgate recipe keys` lists them all")
    rows = [
        {
            "key": key.dotted,
            "type": key.kind,
            "default": key.default,
            "meaning": key.meaning,
        }
        for key in found
    ]
    print_rows(rows, as_json)
