"""The rater's page: what stands in it before the script has fetched the first case."""

from dqe_loss.collect.session import COMMENT_LIMIT, RaterSession
from dqe_loss.collect.study import Study
from dqe_loss.task import GLIOMA
from dqe_loss.viz.cases.pictures import SHOWN
from dqe_loss.viz.hanging import OUTLINES
from dqe_loss.viz.html import fill_template

STAR_NAMES = ("very bad", "bad", "rather bad", "rather good", "good", "very good")
TAG_KEYS = "asdfghjkl"
"""Keys of the first tags; further ones have a click alone."""


def render_page(study: Study, session: RaterSession) -> str:
    """The page of one rater; it names neither rater, nor exam, nor file."""
    design = study.design
    keys = [*TAG_KEYS, *[""] * max(0, len(design.tags) - len(TAG_KEYS))]
    return fill_template(
        "collect.html.jinja",
        title=design.title,
        instructions=[part.strip() for part in design.instructions.split("\n\n") if part.strip()],
        simulated=design.kind != "human",
        pairs=design.mode == "pairs",
        stars=list(enumerate(STAR_NAMES, 1)),
        tags=list(zip(design.tags, keys, strict=False)),
        limit=COMMENT_LIMIT,
        total=len(session.trials),
        outlines={region: (name, color) for region, (name, color, _) in OUTLINES.items()},
        settings={
            "pairs": design.mode == "pairs",
            "shown": [[modality, GLIOMA.title(modality)] for modality in SHOWN],
            # In the order of drawing, which the keys of JSON do not keep.
            "outlines": [[region, color, width] for region, (_, color, width) in OUTLINES.items()],
        },
    )
