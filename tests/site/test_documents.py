"""What README and pages say can be done: commands take their options, names and options of snippets exist."""

import argparse
import ast
import importlib
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import tyro
from pages import COMMANDS, PAGES, ROOT, blocks, inline_code

import dqe_loss
from dqe_loss import DQELoss
from dqe_loss.cli import main as dqe

OTHERS = {"python3", ".", "pip", "pytest", "mkdocs", "python docs/generate", "python -m monai.bundle", ".ci/run"}
OTHERS |= {"export", "nnUNetv2_train", "nnUNetv2_predict"}
"""Commands that are not ours to parse, by their first words."""
FOREIGN = {"--c", "--index-url", "--max-restarts", "--nproc-per-node", "--requeue", "--strict"}
"""Options of nnU-Net, pip, torchrun, SLURM and MkDocs."""


class ParsedError(BaseException):
    """A command has read its arguments; its work is not done here."""


def is_ours(words):
    return OTHERS.isdisjoint(" ".join(words[:n]) for n in (1, 2, 3))


def parse(words, monkeypatch):
    """Let a command read a command line with its own parser; ends in a ParsedError, or as the command ends."""
    read, parse_args = tyro.cli, argparse.ArgumentParser.parse_args

    def cli(*given, **options):
        read(*given, **options)
        raise ParsedError

    def parsed(parser, *given, **options):
        parse_args(parser, *given, **options)
        raise ParsedError

    monkeypatch.setattr(tyro, "cli", cli)
    if "dqe" in words:
        return dqe(words[words.index("dqe") + 1 :])
    if "-m" in words:
        module, *arguments = words[words.index("-m") + 1 :]
        return dqe([module.removeprefix("dqe_loss."), *arguments])  # which is what python -m does
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    script = ROOT / words[1]
    monkeypatch.setattr(sys, "argv", [str(script), *words[2:]])
    monkeypatch.syspath_prepend(str(script.parent))
    return runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("text", [text for text, words in COMMANDS.items() if is_ours(words)])
def test_commands_take_their_options(text, monkeypatch):
    with pytest.raises(ParsedError):
        parse(COMMANDS[text], monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        "dqe rate --exam FOLDER --figur planes.png",
        "srun -n 64 dqe rate --dat ROOT",
        "torchrun --nproc-per-node 4 -m dqe_loss.train paper --rating TABLE",
        "dqe harden --exam A --out runs/hardened",
        "python examples/watch_inference.py inference.csv --treshold 3",
        "python benchmarks/drift.py --repeat-often 40",
    ],
)
def test_a_misspelt_option_is_found(text, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(shlex.split(text), monkeypatch)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_an_unknown_command_is_found(monkeypatch, capsys):
    assert parse(["dqe", "rates"], monkeypatch) == 2
    assert "unknown command" in capsys.readouterr().err


def test_options_that_a_sentence_names_exist():
    source = "".join(
        path.read_text(encoding="utf-8") for room in ("dqe_loss", "examples") for path in (ROOT / room).rglob("*.py")
    )
    fields = set(re.findall(r"^    (\w+): ", source, re.MULTILINE)) | {"help"}
    for page, code in inline_code():
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", code):
            name = option.removeprefix("--").replace("-", "_")
            known = option in FOREIGN or name in fields or name.removeprefix("no_") in fields or f'"{option}"' in source
            assert known, f"{page}: {option}"


def test_files_that_a_sentence_names_exist():
    for page, code in inline_code():
        for path in re.findall(r"(?:benchmarks|examples|tests|docs|dqe_loss|\.ci)/[\w./-]*", code):
            assert (ROOT / path).exists(), f"{page}: {path}"


def test_extras_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    texts = [*COMMANDS, *(code for _, code in inline_code())]
    named = {e for text in texts for found in re.findall(r"\.\[(.+?)\]", text) for e in found.split(",")}
    assert {"rate", "report", "train", "dev", "docs"} <= named
    assert [extra for extra in named if not re.search(rf"^{extra} = \[", project, re.MULTILINE)] == []


@pytest.mark.parametrize("text", blocks("python"))
def test_names_and_options_of_snippets_exist(text):
    known = {name: getattr(dqe_loss, name) for name in dqe_loss.__all__}
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dqe_loss"):
            module = importlib.import_module(node.module)
            known |= {alias.name: getattr(module, alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            given = {keyword.arg for keyword in node.keywords}
            parameters = inspect.signature(known[node.func.id]).parameters
            assert not given - set(parameters) or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def test_what_the_table_of_data_says_makes_a_loss(surrogate):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = text.partition("| your data | say |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) == 13
    for row in rows:
        said = [code for code in re.findall(r"`([^`]+)`", row.split("|")[2]) if re.match(r"\w+=", code)]
        for code in said:
            if not code.endswith("="):
                assert isinstance(
                    eval(f"DQELoss(surrogate, {code})", {"DQELoss": DQELoss, "surrogate": surrogate}), DQELoss
                )


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if Path(page).is_relative_to(ROOT / "docs")]
    assert [page for page in pages if f": {page}\n" not in f"{navigation}\n"] == []


def test_the_api_pages_name_what_there_is():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = re.findall(r"^::: (\S+)\.(\w+)$", text, re.MULTILINE)
    assert [f"{module}.{name}" for module, name in shown if not hasattr(importlib.import_module(module), name)] == []
    assert set(dqe_loss.__all__) <= {name for _, name in shown}
