"""Hooks of MkDocs: what the site takes from the code when it is built, so that nobody types it a second time.

In a page, a line of its own of the form

- ``<!-- help: dqe rate -->`` is replaced by the help of that command, ``<!-- help: python examples/x.py -->`` too,
- ``<!-- label schemes -->`` by a table of the label schemes,
- ``<!-- docstring: dqe_loss.data.tables.rated -->`` by the docstring of that module,
- ``<!-- README's table: Which checkpoint -->`` by the first table under that heading of README.

Everything in ``benchmarks/results`` that a reader can open is copied, so that pages link to it as on GitHub. Figures in
the pages are not made here but by ``python docs/generate``, so that they can be read without the site, too.
"""

import ast
import io
import os
import re
import runpy
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "benchmarks/results"
WIDTH = 78
"""Characters in a line of code that a page shows without scrolling."""
SHOWN = {".md", ".json", ".png", ".csv"}
_DIRECTIVE = re.compile(r"^<!-- (help|docstring|label schemes|README's table)(?:: (.+?))? -->$", re.MULTILINE)
_LINK = re.compile(rf"\]\((?:\.\./)+{RESULTS}/")


def on_files(files: Any, config: Any) -> Any:
    """Add the stored results to the site."""
    from mkdocs.structure.files import File

    for path in sorted((ROOT / RESULTS).rglob("*")):
        uri = path.relative_to(ROOT).as_posix()
        if path.suffix in SHOWN and "planes" not in path.relative_to(ROOT).parts[:-1]:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace the directives of a page, and let its links to stored results point into the site."""
    uri = page.file.src_uri
    if uri.startswith(RESULTS):
        return f"# Stored table: {Path(uri).parent.name.replace('_', ' ')}\n\n{markdown}"
    up = "../" * uri.count("/")
    return _LINK.sub(f"]({up}{RESULTS}/", expand(markdown))


def expand(markdown: str) -> str:
    """The page with each directive replaced.

    Raises:
        FileNotFoundError: a file that a directive names is not there.
        ValueError: a command that a directive names gives no help.
    """
    return _DIRECTIVE.sub(lambda found: _EXPANSIONS[found[1]](found[2] or ""), markdown)


@cache
def _help(command: str) -> str:
    """What a command says of itself, as a block; all in this process, for each import of PyTorch takes seconds."""
    first, *words = [*shlex.split(command), "--help"]
    printed = io.StringIO()
    with redirect_stdout(printed), _plain_terminal():
        try:
            if first == "dqe":
                from dqe_loss.cli import main

                code: Any = main(words)
            else:
                script = ROOT / words[0]
                with patch.object(sys, "argv", words), patch.object(sys, "path", [str(script.parent), *sys.path]):
                    runpy.run_path(str(script), run_name="__main__")
                code = 0
        except SystemExit as ended:
            code = ended.code
    if code or not printed.getvalue().strip():
        raise ValueError(f"{command} --help ended with {code} and printed {printed.getvalue()[-500:]!r}")
    return "\n".join(["```text", *map(_wrapped, printed.getvalue().strip().splitlines()), "```"])


def _wrapped(line: str) -> str:
    """A line of a command's help, in as many as a page is wide; descriptions are not wrapped by the command itself."""
    indent = re.match(r" *(?:\S+ {2,})?", line)
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * indent.end(), break_on_hyphens=False) if indent else line


@contextmanager
def _plain_terminal() -> Iterator[None]:
    """A terminal without colors, as wide as a page, and this repository's package before an installed one."""
    with patch.dict(os.environ, COLUMNS=str(WIDTH), NO_COLOR="1"), patch.object(sys, "path", [str(ROOT), *sys.path]):
        yield


def _label_schemes(_: str) -> str:
    """All schemes with their labels."""
    from dqe_loss import LABEL_SCHEMES

    rows = [f"| `{name}` | {scheme} |" for name, scheme in LABEL_SCHEMES.items()]
    return "\n".join(["| scheme | labels |", "|---|---|", *rows])


def _docstring(module: str) -> str:
    """A module's docstring, with its cross-references as plain code."""
    path = ROOT / (module.replace(".", "/") + ".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = re.sub(r"\n  (?=``)", " ", text)  # a row of a table that goes on in the next line
    text = re.sub(r"\s+\(contracts? C\d+\)", "", text)  # numbers that mean nothing to a reader
    return text.replace("``", "`")


def _readme_table(heading: str) -> str:
    """A table of README, its links as seen from a page one folder down.

    Raises:
        ValueError: there is no such heading, or no table under it.
    """
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    if not (table := re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)):
        raise ValueError(f"README has no table under the heading {heading!r}")
    return table[0].strip().replace("](docs/", "](../")


_EXPANSIONS = {
    "help": _help,
    "label schemes": _label_schemes,
    "docstring": _docstring,
    "README's table": _readme_table,
}
