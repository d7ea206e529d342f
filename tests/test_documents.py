"""What README and pages say can be done: snippets parse, their names exist, and every command takes its options."""

import argparse
import ast
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import tyro

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [
    page for room in ("how-to", "explanation", "reference") for page in sorted((ROOT / "docs" / room).glob("*.md"))
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class ParsedError(BaseException):
    """A command has read its arguments; its work is not done here."""


def blocks(language):
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, (found, text) in enumerate(_BLOCK.findall(page.read_text(encoding="utf-8")))
        if found == language
    ]


def commands():
    lines = {}
    for block in blocks("bash"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                if words:
                    lines[" ".join(words)] = words
    return lines


COMMANDS = commands()
OURS = {text: words for text, words in COMMANDS.items() if words[0] in ("python", "torchrun")}


@pytest.mark.parametrize("text", blocks("python"))
def test_snippets_parse_and_their_names_exist(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dqe_loss"):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("text", OURS)
def test_commands_take_their_options(text, monkeypatch):
    words = OURS[text]
    start = words.index("-m") if "-m" in words else 1
    module, arguments = (words[start + 1], words[start + 2 :]) if "-m" in words else (None, words[2:])
    read, parse = tyro.cli, argparse.ArgumentParser.parse_args

    def cli(*given, **options):
        read(*given, **options)
        raise ParsedError

    def parse_args(parser, *given, **options):
        parse(parser, *given, **options)
        raise ParsedError

    monkeypatch.setattr(tyro, "cli", cli)
    if not module or "dqe_loss" not in module:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    script = ROOT / words[1]
    monkeypatch.setattr(sys, "argv", [module or str(script), *arguments])
    monkeypatch.syspath_prepend(str(script.parent))

    def run():
        if module:
            importlib.import_module(module).main(arguments)
        else:
            runpy.run_path(str(script), run_name="__main__")

    with pytest.raises(ParsedError):
        run()


def test_every_other_command_is_known():
    others = {words[0] for text, words in COMMANDS.items() if text not in OURS}
    assert others <= {"python3", ".", "pip", "pytest", "mkdocs"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = {e for text in COMMANDS for found in re.findall(r"\.\[(.+?)\]", text) for e in found.split(",")}
    assert [extra for extra in named if not re.search(rf"^{extra} = \[", project, re.MULTILINE)] == []


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []
