"""The model card of a hardened surrogate: what it is, what it learned from, what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dqe_loss.core.checks import describe_spacing
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.surrogate.config import NO_NETWORK, SurrogateConfig

_TWO = (
    "Two networks give them together. The first has learned from {kind} ratings and is as it\nwas: {data}. The second,"
)
_ALONE = "Nobody has rated anything: every mask begins with the most stars. A network,"
_HEAD_MEAN = (
    "Each modality of a plane is divided by its own mean over the head, so that the units of a modality do not\n"
    "matter; z-scores are recognized and brought back."
)
_WINDOW = "Intensities from {low:g} to {high:g} are what is seen; they have a unit."

NOT_TOLD = (
    "**Sources, licence and failures.** Not told: `dqe harden` knows neither where these exams come from, nor what\n"
    "licence their data has, nor where the refiner fails. Say it here before you share this file."
)
"""What a card says of the real exams until a person who knows them has written it."""

_CARD = """# {title}

A surrogate that predicts stars ({worst:g} worst to {best:g} best) of {task} segmentations from planes of {scans}, made
to be optimized against. Made with dqe_loss after Kofler et al. 2022 (arXiv 2205.10355). Research software, not a
medical device.

**Kind of ratings: {hybrid}.** {first} a refiner, has learned from references which voxels of a mask are wrong; stars
above the lowest are multiplied by how far it agrees with the mask (from {full_marks:g} on wholly, over all of the head
from {survey_full_marks:g} on), to the power {exponent:g}. What lowers the stars is overlap as the refiner
sees it, no human judgment.

**Units.** {units}

**Gradient.** It moves a voxel only to where the refiner is sure that it belongs (probability {confidence:g} or
more), and does not reach the position of the planes.

**What the refiner learned from.** {taught}, as they are and with errors: of place, shape and content, masks of
other planes, absurd ones, none at all, soft ones, and masks that had been changed to please it. {steps} steps of
{batch} planes. {weights}

**Real exams.** {names}{told}

**Limits.** {known} It judges planes of {spacing}, {where}. Where it is not sure it says
nothing. Look at its audit before you rely on it.
{notice}"""


@dataclass(frozen=True)
class Lesson:
    """A teaching that has ended.

    Attributes:
        config: the hardening.
        taught: exams that were taught on.
        held_out: exams that it was judged on while it went on.
        step: the step whose weights were taken.
    """

    config: HardenConfig
    taught: Sequence[TaughtExam]
    held_out: Sequence[TaughtExam]
    step: int


def describe_exams(exams: Sequence[TaughtExam]) -> str:
    """Say in a few words what a refiner was taught on."""
    phantoms = sum(exam.synthetic for exam in exams)
    masks, predicted = (sum(counts) for counts in zip(*((len(e.stock), e.predicted) for e in exams), strict=True))
    added = f" and {predicted} predictions of networks" if predicted else ""
    count = f"{len(exams) - phantoms} real and {phantoms} synthetic exams"
    return f"{count} with {masks} masks{added} besides their references"


def hardened_card(title: str, start: SurrogateConfig, hardened: SurrogateConfig, lesson: Lesson) -> str:
    """Write the card in Markdown.

    Args:
        title: name of the checkpoint.
        start: the surrogate that was hardened.
        hardened: the one that came out.
        lesson: the teaching.

    Raises:
        ValueError: if the surrogate has no refiner.
    """
    if hardened.refiner is None:
        raise ValueError("expected a hardened surrogate, got one without a refiner")
    config, real = lesson.config, _names(lesson.taught)
    taught = describe_exams(lesson.taught)
    task, alone = hardened.task, start.architecture == NO_NETWORK
    window = None if task.window is None else dict(zip(("low", "high"), task.window, strict=True))
    return _CARD.format(
        title=title,
        worst=hardened.stars[0],
        best=hardened.stars[1],
        task=task.name,
        scans=task.list_titles(task.modalities),
        hybrid=hardened.kind_of_ratings,
        first=_ALONE if alone else _first(start),
        units=_HEAD_MEAN if window is None else _WINDOW.format(**window),
        spacing=describe_spacing(task.spacing),
        where="skull-stripped, in BraTS's field of view"
        if task.source == "BraTS"
        else f"padded to {hardened.field_of_view}",
        full_marks=hardened.refiner.full_marks,
        survey_full_marks=hardened.refiner.survey_full_marks,
        exponent=hardened.refiner.exponent,
        confidence=hardened.refiner.confidence,
        taught=taught[:1].upper() + taught[1:],
        steps=config.steps,
        batch=config.batch,
        weights=_weights(lesson),
        names=f"{', '.join(real)}." if real else "None: it has seen synthetic exams only.",
        told=f"\n\n{NOT_TOLD}" if real else "",
        known=f"It knows {len(real)} real exam{'s' * (len(real) != 1)}.",
        notice=f"\n**Notice.** {hardened.notice}\n" if hardened.notice else "",
    )


def _names(exams: Sequence[TaughtExam]) -> list[str]:
    return [exam.name for exam in exams if not exam.synthetic]


def _first(start: SurrogateConfig) -> str:
    kind, data = start.kind_of_ratings, start.data or "its data is not known"
    if start.refiner is not None:  # its data tells both, and begins with what the network beside the refiner learned
        kind, _, data = data.partition(" ratings: ")
    return _TWO.format(kind=kind, data=data)


def _weights(lesson: Lesson) -> str:
    """Which weights were taken, and why."""
    if not lesson.held_out:
        return f"Its weights are those after step {lesson.step}, the last."
    return (
        f"Its weights are those after step {lesson.step}, where it did best on exams that were held out: "
        f"{', '.join(_names(lesson.held_out))}. It was chosen by these, so that they do not test it."
    )
