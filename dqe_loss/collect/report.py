"""``dqe collect report``: from a study or tables to ``reliability.json`` and a page."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from dqe_loss.collect.arguments import ReportArguments
from dqe_loss.collect.comparisons import comparison_numbers
from dqe_loss.collect.judgments import holds_pairs, read_comparisons, read_judgments
from dqe_loss.collect.pairs_page import comparisons_summary, render_comparisons
from dqe_loss.collect.reliability import reliability
from dqe_loss.collect.report_page import ratings_summary, render_reliability
from dqe_loss.collect.report_settings import WANTED, Numbers, ReportSettings
from dqe_loss.collect.study_file import STUDY, is_begun, read_study
from dqe_loss.collect.table import PAIRS, RATINGS, write_answers
from dqe_loss.outputs import check_output_folder, encode, json_ready, write_together
from dqe_loss.task import GLIOMA, Task, find_task
from dqe_loss.tasks.scale import step_of, steps_given

_LIBRARIES = ("dqe_loss", "numpy", "scipy", "pandas", "choix")


def report(arguments: ReportArguments) -> None:
    """Write the report of a command line, and print its main numbers.

    Raises:
        ValueError: a table cannot be used, or an option does not fit.
        OSError: a file cannot be written.
    """
    _check(arguments)
    task = _task_of(arguments)
    scale = arguments.scale or (task or GLIOMA).stars
    sources = [table_of(source) for source in arguments.source]
    out = arguments.out or sources[0].parent / "report"
    check_output_folder(out)
    name = task.name if task else ""
    numbers: Numbers = {
        "sources": [str(source) for source in sources],
        "versions": {library: version(library) for library in _LIBRARIES},
    }
    if any(map(holds_pairs, sources)):
        if len(sources) > 1:
            raise ValueError("pairs are reported one table at a time; give one")
        numbers["settings"] = {"resamples": arguments.resamples, "seed": arguments.seed}
        numbers["pairs"] = comparison_numbers(read_comparisons(sources[0], name), arguments.resamples, arguments.seed)
        page, told = render_comparisons(json_ready(numbers)), comparisons_summary
    else:
        judgments = read_judgments(sources, scale, arguments.by, name)
        settings = _settings(arguments, scale, judgments["stars"])
        numbers["settings"] = asdict(settings)
        groups = _groups(judgments, arguments.by)
        numbers["groups"] = {name: reliability(part, settings) for name, part in groups.items()}
        page, told = render_reliability(json_ready(numbers), groups), ratings_summary
    ready = json_ready(numbers)
    content = json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    write_together({out / "reliability.json": encode(content), out / "index.html": encode(page)})
    print(f"{told(ready)}\n\nAll of it: {out / 'index.html'}")


def _check(arguments: ReportArguments) -> None:
    """Refuse what cannot work before anything is read."""
    if (arguments.wanted is not None and not arguments.wanted > 0) or arguments.resamples < 1 or arguments.seed < 0:
        raise ValueError("expected --wanted above 0, --resamples of 1 or more, --seed of 0 or more")
    if arguments.scale and arguments.scale[0] >= arguments.scale[1]:
        raise ValueError(
            f"--scale takes the worst value and the best, got {arguments.scale[0]:g} {arguments.scale[1]:g}"
        )


def _settings(arguments: ReportArguments, scale: tuple[float, float], stars: pd.Series) -> ReportSettings:
    """How the numbers of ratings are made; where raters had coarser steps than the scale offers, theirs count."""
    step = max(step_of(scale), (scale[1] - scale[0]) / steps_given(stars, scale))
    wanted = WANTED * step if arguments.wanted is None else arguments.wanted
    return ReportSettings(scale, step, wanted, arguments.resamples, arguments.seed)


def _task_of(arguments: ReportArguments) -> Task | None:
    """The task that was named, or that of the studies; None where a scale says all that has to be known.

    Raises:
        ValueError: studies are of several tasks.
    """
    if arguments.task:
        return find_task(arguments.task)
    tasks = [read_study(source).design.task for source in arguments.source if source.is_dir() and is_begun(source)]
    if any(task != tasks[0] for task in tasks):
        raise ValueError(f"the studies are of the tasks {', '.join(task.name for task in tasks)}; report them apart")
    if tasks:
        return tasks[0]
    return None if arguments.scale else GLIOMA


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
        groups |= {str(name).strip() or "(none)": part for name, part in judgments.groupby(by)}
    return groups
