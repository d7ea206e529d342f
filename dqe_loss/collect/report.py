"""``dqe collect report``: from a study or tables to ``reliability.json`` and a page."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from dqe_loss.collect.arguments import ReportArguments
from dqe_loss.collect.comparisons import comparison_numbers
from dqe_loss.collect.judgments import read_comparisons, read_judgments
from dqe_loss.collect.reliability import Numbers, ReportSettings, reliability
from dqe_loss.collect.report_page import render_comparisons, render_reliability, summary
from dqe_loss.collect.study import STUDY, read_study
from dqe_loss.collect.table import PAIRS, RATINGS, write_answers
from dqe_loss.evaluate.summary import json_ready
from dqe_loss.outputs import check_output_folder, encode, write_together

_LIBRARIES = ("dqe_loss", "numpy", "scipy", "pandas", "choix")


def report(arguments: ReportArguments) -> None:
    """Write the report of a command line, and print its main numbers.

    Raises:
        ValueError: a table cannot be used, or an option does not fit.
        OSError: a file cannot be written.
    """
    if not arguments.wanted > 0 or arguments.resamples < 1 or arguments.seed < 0:
        raise ValueError("expected --wanted above 0, --resamples of 1 or more, --seed of 0 or more")
    if arguments.scale[0] >= arguments.scale[1]:
        raise ValueError(
            f"--scale takes the worst value and the best, got {arguments.scale[0]:g} {arguments.scale[1]:g}"
        )
    sources = [table_of(source) for source in arguments.source]
    out = arguments.out or sources[0].parent / "report"
    check_output_folder(out)
    settings = ReportSettings(arguments.scale, arguments.wanted, arguments.resamples, arguments.seed)
    numbers: Numbers = {
        "sources": [str(source) for source in sources],
        "settings": asdict(settings),
        "versions": {library: version(library) for library in _LIBRARIES},
    }
    if any(source.name == PAIRS for source in sources):
        if len(sources) > 1:
            raise ValueError("pairs are reported one table at a time; give one")
        numbers["pairs"] = comparison_numbers(read_comparisons(sources[0]), arguments.seed)
        page = render_comparisons(json_ready(numbers))
    else:
        judgments = read_judgments(sources, arguments.scale, arguments.by)
        groups = _groups(judgments, arguments.by)
        numbers["groups"] = {name: reliability(part, settings) for name, part in groups.items()}
        page = render_reliability(json_ready(numbers), groups)
    ready = json_ready(numbers)
    content = json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    write_together({out / "reliability.json": encode(content), out / "index.html": encode(page)})
    print(f"{summary(ready)}\n\nAll of it: {out / 'index.html'}")


def table_of(source: Path) -> Path:
    """The table of a source: of a study's folder the one that its journals give now.

    Raises:
        ValueError: a folder holds no study, or a journal is damaged.
    """
    if not source.is_dir():
        return source
    if not (source / STUDY).is_file():
        tables = [source / name for name in (RATINGS, PAIRS) if (source / name).is_file()]
        if not tables:
            raise ValueError(f"{source}: expected a study ({STUDY}) or a table, found neither")
        return tables[0]
    path, rows = write_answers(read_study(source), source)
    if not rows:
        raise ValueError(f"{source}: nobody has rated anything yet")
    return path


def _groups(judgments: pd.DataFrame, by: str | None) -> dict[str, pd.DataFrame]:
    """All judgments and, by a column, those with each of its values."""
    groups = {"": judgments}
    if by:
        groups |= {str(name): part for name, part in judgments.groupby(by)}
    return groups
