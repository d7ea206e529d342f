"""Hooks of MkDocs: what the site takes from the repository when it is built, so that nobody types it a second time.

In a page, a line of its own of the form

- ``<!-- include: benchmarks/results/hacking/table.md -->`` is replaced by that file,
- ``<!-- help: python -m dqe_loss.rate -->`` by the help of that command,
- ``<!-- label schemes -->`` by a table of the label schemes,
- ``<!-- docstring: dqe_loss.data.rated -->`` by the docstring of that module.

Everything in ``benchmarks/results`` that a reader can open is copied, so that pages link to it as on GitHub.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "benchmarks/results"
SHOWN = {".md", ".json", ".png", ".csv"}
_DIRECTIVE = re.compile(r"^<!-- (include|help|docstring|label schemes)(?:: (.+?))? -->$", re.MULTILINE)
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
        return f"# {Path(uri).parent.name}: stored table\n\n{markdown}"
    up = "../" * uri.count("/")
    return _LINK.sub(f"]({up}{RESULTS}/", expand(markdown))


def expand(markdown: str) -> str:
    """The page with each directive replaced.

    Raises:
        FileNotFoundError: a file that a directive names is not there.
        ValueError: a command that a directive names gives no help.
    """
    return _DIRECTIVE.sub(lambda found: _EXPANSIONS[found[1]](found[2] or ""), markdown)


def _include(path: str) -> str:
    """A file of the repository, its headings two levels lower."""
    return re.sub(r"^#", "###", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE).strip()


def _help(command: str) -> str:
    """What a command says of itself, as a block; left out where DQE_SITE_HELP is 0, for quick previews."""
    if os.environ.get("DQE_SITE_HELP") == "0":
        return "*Left out of this preview.*"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    words = [sys.executable, *shlex.split(command)[1:], "--help"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise ValueError(f"{command} --help ended with {done.returncode}: {done.stderr[-500:]}")
    return f"```text\n{done.stdout.strip()}\n```"


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
    return text.replace("``", "`")


_EXPANSIONS = {"include": _include, "help": _help, "label schemes": _label_schemes, "docstring": _docstring}
