"""The rater's page: what stands in it before the script has fetched the first case."""

from dqe_loss.collect.levels import answer_levels
from dqe_loss.collect.session import COMMENT_LIMIT, RaterSession
from dqe_loss.collect.study import Study
from dqe_loss.viz.hanging import outlines_of
from dqe_loss.viz.html import fill_template

TAG_KEYS = "asdfghjkl"
"""Keys of the first tags; further ones have a click alone."""


def render_page(study: Study, session: RaterSession) -> str:
    """The page of one rater; it names neither rater, nor exam, nor file."""
    design, task = study.design, study.design.task
    tag_keys = [*TAG_KEYS, *[""] * max(0, len(design.tags) - len(TAG_KEYS))]
    levels = answer_levels(task)
    outlines = outlines_of(task)
    pairs = design.mode == "pairs"
    return fill_template(
        "collect.html.jinja",
        title=design.title,
        instructions=[part.strip() for part in design.instructions.split("\n\n") if part.strip()],
        simulated=design.kind != "human",
        pairs=pairs,
        levels=levels,
        tags=list(zip(design.tags, tag_keys, strict=False)),
        limit=COMMENT_LIMIT,
        total=len(session.trials),
        outlines={region: name for region, (name, _, _) in outlines.items()},
        center="" if task.planar else task.title(task.centers[0]),
        settings={
            "pairs": pairs,
            "views": task.views,
            "shown": [[modality, task.title(modality)] for modality in task.pictured],
            "answers": [[level.key, level.value] for level in levels],
            # In the order of drawing, which the keys of JSON do not keep.
            "outlines": [[region, color, width] for region, (_, color, width) in outlines.items()],
        },
    )
