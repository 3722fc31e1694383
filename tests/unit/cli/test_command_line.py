"""The command line answers at once, explains itself, and maps every error to a code of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from aboveboard import errors
from aboveboard.cli import exits
from aboveboard.cli.app import COMMANDS, root


def test_help_lists_every_command_without_importing_one() -> None:
    program = (
        "import sys; from aboveboard.cli.app import root\n"
        "print(root.get_help(__import__('click').Context(root)))\n"
        "heavy = {'pydantic', 'polars', 'numpy', 'lightgbm', 'rich', 'sqlalchemy', 'regopy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert all(f"  {name} " in finished.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_in_the_list_what_it_says_itself(name: str) -> None:
    command = importlib.import_module(f"aboveboard.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.get_short_help_str(limit=200).rstrip(".") in COMMANDS[name] or command.help
    leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert leaf.help, f"{name} {leaf.name} has no help"


def subclasses(kind: type[errors.AboveboardError]) -> list[type[errors.AboveboardError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


def test_every_error_has_a_code_and_an_exit_code_that_is_not_zero() -> None:
    public = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AboveboardError)
    ]
    codes = [kind.code for kind in public]
    assert len(set(codes)) == len(codes)
    for kind in public:
        error = kind("x", []) if kind in (errors.SpecInvalid, errors.DataRefused) else kind("x")
        assert exits.for_error(error) != 0
        assert exits.for_error(error) != exits.INSUFFICIENT
    assert exits.for_verdict("pass") == 0
    assert exits.for_verdict("fail") == 1
    assert exits.for_verdict("insufficient") == 2
    assert exits.for_verdict("anything else") == 1


def test_the_root_command_is_named_as_it_is_installed() -> None:
    assert "aboveboard demo" in (root.help or "")


def test_an_installation_without_training_says_so() -> None:
    program = (
        "import sys; sys.modules['polars'] = None\nfrom aboveboard.cli.app import main\nmain(['run', 'model.yaml'])\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == exits.MISUSE
    assert "without training" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_another_module_that_is_missing_is_a_defect() -> None:
    program = (
        "import sys; sys.modules['alembic'] = sys.modules['numpy'] = None\n"
        "from aboveboard.cli.app import main\n"
        "main(['run', 'model.yaml'])\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == exits.BUG
