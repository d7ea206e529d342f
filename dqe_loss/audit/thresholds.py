"""Where the checks of an audit pass, for gliomas and for any other task."""

from dataclasses import dataclass, replace

from dqe_loss.task import GLIOMA, Task

_IN_STARS = ("absurd_margin", "ladder_rise", "soft_distance", "strict_distance", "loose_distance")


@dataclass(frozen=True)
class Thresholds:
    """Where a check passes. All are ours; no one has validated any of them on patients.

    Attributes:
        absurd_margin: stars by which the best absurd mask must stay below the reference, through the reference's
            center (project target).
        absurd_dice: a mask counts as absurd up to this mean Dice in the rated planes: a tumor moved by five voxels is
            no absurd mask (our choice).
        ladder_spearman: of severity and stars, mean over exams, worst ladder (project target).
        ladder_rise: stars by which a worse mask of a ladder may exceed a better one, mean over exams (our choice).
        ladder_visible: a ladder is judged where severity and Dice in the rated planes have at most this Spearman:
            nobody can rate an error that the planes do not show (our choice).
        attack_dice: Dice of each region left in the rated planes after an attack from the reference (project targets).
        attack_change: change of mean Dice in the rated planes after an attack from the shifted mask, more than
            this (project target); the same is asked from the corrupted one (our choice).
        direction_cosine: of the loss's and the Dice loss's gradients, mean over masks, more than this: a gradient
            without direction has 0, and the published weights hardly more (our choice).
        direction_kept: share that the guard keeps, mean over masks, more than this: a gradient without direction
            keeps half, and so do the published weights (our choice).
        soft_distance: stars by which soft masks may be rated apart from the binary one (our choice, the distance
            that the project allows a hardened checkpoint's good masks).
        strict_distance: the same for changes of an exam that a rating should hardly notice (our choice).
        loose_distance: the same for the other changes (our choice).
        regions: names of the regions, of which the largest is judged first.
        order: places of the regions in the order of the checks.
    """

    absurd_margin: float = 1.5
    absurd_dice: float = 0.3
    ladder_spearman: float = -0.8
    ladder_rise: float = 0.5
    ladder_visible: float = -0.9
    attack_dice: tuple[float, ...] = (0.85, 0.9, 0.85)
    attack_change: float = 0.0
    direction_cosine: float = 0.1
    direction_kept: float = 0.6
    soft_distance: float = 0.5
    strict_distance: float = 0.25
    loose_distance: float = 0.5
    regions: tuple[str, ...] = GLIOMA.regions
    order: tuple[int, ...] = (1, 0, 2)


def thresholds_of(task: Task) -> Thresholds:
    """Where the checks of a task pass: what is left of the whole after an attack must be more than of a part."""
    sizes = [len(task.parts[region]) for region in task.regions]
    order = tuple(sorted(range(len(sizes)), key=lambda place: -sizes[place]))
    left = tuple(0.9 if region == task.whole else 0.85 for region in task.regions)
    share = (task.stars[1] - task.stars[0]) / (GLIOMA.stars[1] - GLIOMA.stars[0])  # how large a star is
    plain = Thresholds()
    return replace(
        plain,
        attack_dice=left,
        regions=task.regions,
        order=order,
        **{name: share * getattr(plain, name) for name in _IN_STARS},
    )
