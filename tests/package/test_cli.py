"""``dqe``: its list of commands, and that it adds nothing to them and imports nothing for them."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dqe_loss import cli
from dqe_loss.cli import COMMANDS, main, usage

LISTED = """
import sys
from dqe_loss.cli import main
code = main(["--help"])
heavy = {"torch", "monai", "numpy", "tyro", "pandas"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else code)
"""


def test_help_lists_every_command_and_imports_nothing_heavy():
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, timeout=60, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    assert done.stdout == usage() + "\n"
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], timeout=60, check=True)
    assert seconds < time.perf_counter() - bare + 1  # beside the interpreter's own start


def test_every_command_of_the_package_is_listed():
    folder = Path(cli.__file__).parent
    # dqe_loss.task is what users import, so that its command is the module dqe_loss.tasks
    modules = {path.parent.name for path in folder.rglob("*/__main__.py")}
    assert modules == {*COMMANDS, "tasks"} - {"task"}
    rooms = {Path(command.source).parent for command in COMMANDS.values()}
    assert {path.parent.relative_to(folder) for path in folder.rglob("*/command.py")} == rooms


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_as_it_describes_itself(name, capsys):
    [line] = [line for line in usage().splitlines() if line.split()[:1] == [name]]
    text = line.split(maxsplit=1)[1]
    assert text.endswith(".")
    own_help = [*(["paper"] if name == "train" else []), "--help"]
    with pytest.raises(SystemExit) as ended:
        main([name, *own_help])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert text in " ".join(printed.replace("│", " ").split())
    assert f"dqe {name}" in printed


def test_a_command_gets_its_options_and_gives_its_exit_code(monkeypatch):
    curate = importlib.import_module("dqe_loss.curate.command")
    got = []
    monkeypatch.setattr(curate, "main", lambda argv: got.append(argv) or 130)
    assert main(["curate", "a.csv", "--out", "b"]) == 130
    assert got == [["a.csv", "--out", "b"]]


def test_without_a_command_it_says_how_it_is_used(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: dqe COMMAND [OPTIONS]\n")


@pytest.mark.slow
def test_the_three_ways_to_a_command_say_the_same(tmp_path):
    """``dqe rate``, ``python -m dqe_loss rate`` and ``python -m dqe_loss.rate``: an error of one line, exit code 2."""
    options = ["--exam", str(tmp_path)]
    script = ["-c", "import sys; from dqe_loss.cli import main; sys.exit(main())", "rate"]
    outcomes = set()
    for way in (script, ["-m", "dqe_loss", "rate"], ["-m", "dqe_loss.rate"]):
        done = subprocess.run([sys.executable, *way, *options], capture_output=True, text=True, timeout=300)
        outcomes.add((done.returncode, done.stdout, done.stderr))
    [(code, out, errors)] = outcomes
    assert (code, out) == (2, "")
    assert errors.startswith("dqe rate: error: ")
    assert errors.count("\n") == 1


def test_an_unknown_command_is_one_line(capsys):
    assert main(["raet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"dqe: error: unknown command 'raet'; expected one of {', '.join(COMMANDS)}\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["rate", "--help"]])
def test_nobody_has_to_read_to_the_end(arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "dqe_loss", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(60), errors) == (141, "")
