"""The page of a curation: the page of cases, with how the threshold came about."""

from pathlib import Path

import numpy as np

from dqe_loss.curate.curation import Calibration, Curation, CurationSettings
from dqe_loss.curate.decide import Rule
from dqe_loss.curate.lists_and_numbers import assumptions, labeled_stars, relative_paths, statement
from dqe_loss.data.tables.warning_kinds import describe_aside
from dqe_loss.metrics.failure import failure_detection
from dqe_loss.viz.cases.collect import read_pictures
from dqe_loss.viz.cases.page import Section, flag_rows, render_cases
from dqe_loss.viz.html import Table, TableCell, format_number
from dqe_loss.viz.overlap_plots import plot_risk_coverage
from dqe_loss.viz.plots import save_figure


def curation_page(curation: Curation, path: Path, settings: CurationSettings, pictures: int, folder: Path) -> str:
    """Read the pictures of what was not kept and of a sample of what was, and write the page.

    Args:
        curation: what was decided.
        path: the rated table, for the heading.
        settings: what was asked for.
        pictures: how many segmentations get pictures at most, the worst rated first.
        folder: where the page will lie; files are named relative to it.

    Returns:
        HTML that needs no other file.
    """
    table, calibration = curation.table, curation.calibration
    flagged = flag_rows(table, pictures)
    threshold = curation.rule.threshold
    sections = [_rule_section(curation.rule, settings, str(table["unit"].iloc[0]))]
    if calibration:
        sections.append(_guarantee_section(curation, calibration, settings))
    notices = []
    if calibration and calibration.chosen is None:
        notices.append(statement(curation, calibration, settings))
    others = int(((table["decision"] != "keep") & (table["error"] == "")).sum())
    if others > len(flagged) > 0:
        notices.append(
            f"Of {others:,} segmentations that are not kept, the {len(flagged):,} worst rated have pictures on this "
            "page (--pictures)."
        )
    drawn = read_pictures(table.loc[flagged], curation.task)
    return render_cases(
        relative_paths(table, folder, curation.task),
        drawn,
        title=f"Curation of {path.name}",
        threshold=threshold if np.isfinite(threshold) else None,
        notices=notices,
        sections=sections,
        task=curation.task,
    )


def _rule_section(rule: Rule, settings: CurationSettings, unit: str) -> Section:
    """What was kept, in words."""
    which = {"mean": "mean of views", "lowest": "lowest view"}.get(settings.stars, f"{settings.stars} view")
    if rule.threshold == np.inf:
        kept = "Nothing is kept"
    elif rule.threshold == -np.inf:
        kept = "Kept: every segmentation with stars"
    else:
        how = "shown by the labels below" if settings.labels else "given"
        if settings.quantile is not None:
            how = f"the worst rated {100 * settings.quantile:g} % lie below it"
        kept = f"Kept: {rule.threshold:.2f} {unit} ({which}) or above; {how}"
    parts = [kept]
    if rule.per_exam == "best":
        parts.append("of each exam the best rated segmentation")
    if rule.budget is not None:
        parts.append(f"of each center the best {rule.budget}")
    if aside := describe_aside(rule.accept_warnings):
        parts.append(f"segmentations with {aside} are reviewed")
    parts.append(f"those up to {rule.margin:g} below count as near the threshold")
    if np.isfinite(rule.drop_below):
        parts.append(f"below {rule.drop_below:g} they are dropped without a review")
    return Section("What was kept", ["; ".join(parts) + "."])


def _guarantee_section(curation: Curation, calibration: Calibration, settings: CurationSettings) -> Section:
    """The statement, what it rests on, the tests and the risk-coverage curve."""
    risk, stars = labeled_stars(curation, calibration)
    areas = failure_detection(risk, stars)
    unit = str(curation.table["unit"].iloc[0])
    rows = [
        [
            f"{trial.threshold:.2f}",
            TableCell(str(trial.kept)),
            TableCell(str(trial.unacceptable)),
            TableCell(format_number(trial.upper, 3)),
            TableCell(format_number(trial.p_value, 3)),
            TableCell("passed" if trial.passed else "failed"),
        ]
        for trial in calibration.trials
    ]
    caption = (
        "Thresholds in the order of their tests, which end at the first that fails (Learn then Test, fixed sequence; "
        f"exact binomial test at {1 - settings.confidence:.3g})"
    )
    columns = ["at or above", "kept", "unacceptable", "upper bound of the rate", "p", "test"]
    strong = {i for i, trial in enumerate(calibration.trials) if trial is calibration.chosen}
    figure = plot_risk_coverage(
        risk,
        {settings.stars: stars},
        stars_label=f"predicted {unit}",
        title=f"Labeled segmentations by predicted {unit}",
        risk_label=f"1 − {calibration.labels.quality}",
        threshold=calibration.chosen.threshold if calibration.chosen else None,
    )
    order = "below chance: low stars find failures" if areas.aurc < areas.random else "no better than chance"
    explained = (
        f"What is left of 1 − {calibration.labels.quality} where only the best rated share of the {len(stars)} labeled "
        f"segmentations with stars is accepted. AURC {format_number(areas.aurc, 3)}, the best order "
        f"{format_number(areas.optimal, 3)}, chance {format_number(areas.random, 3)}: {order}."
    )
    return Section(
        "What is guaranteed",
        [statement(curation, calibration, settings), *assumptions(calibration, settings)],
        Table(caption, columns, rows, strong),
        [(save_figure(figure, "svg"), explained)],
    )
