"""The parts of an audit: what each does, what it costs, and what it means in words."""

from collections.abc import Callable
from dataclasses import dataclass

from dqe_loss.audit.absurd import count_absurd, measure_absurd
from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.direction import count_direction, measure_direction
from dqe_loss.audit.exploitation import count_exploitation, measure_exploitation
from dqe_loss.audit.invariance import count_invariance, measure_invariance
from dqe_loss.audit.ladders import count_ladders, measure_ladders
from dqe_loss.audit.softness import count_soft, measure_soft
from dqe_loss.audit.stars_and_dice import AuditSettings, Measured, Tick
from dqe_loss.surrogate.network import Surrogate


@dataclass(frozen=True)
class AuditPart:
    """One part of the audit.

    Attributes:
        title: its heading.
        meaning: what it asks and what an answer is good for, for a researcher who has not read the code; ``{subject}``
            and ``{around}`` are the task's words.
        measure: does the work for one exam.
        count: how many ratings that takes, about; for the progress bar.
        uses_steps: whether it attacks: its result depends on the number of steps, and it is done with each guard.
    """

    title: str
    meaning: str
    measure: Callable[[AuditedExam, Surrogate, AuditSettings, Tick], Measured]
    count: Callable[[AuditSettings], int]
    uses_steps: bool = False


PARTS = {
    "absurd": AuditPart(
        "Absurd masks",
        "Masks that no one would accept: nothing, the whole {around} as one tissue, random labels, the {subject} on "
        "the wrong side, another patient's {subject}, the right {subject} in the wrong place. A rating that can be "
        "trusted puts all of them far below the reference. Each is rated twice: through its own center, as the loss "
        "and the command rate look, and through the reference's, where its failure is in plain sight. Only the latter "
        "is judged: through its own center a mask can hide from view what it missed.",
        measure_absurd,
        count_absurd,
    ),
    "ladders": AuditPart(
        "Ladders of errors",
        "One error at a time, grown in eight steps from hardly seen to a failure. Stars should fall with every step. "
        "Spearman's correlation of severity and stars is −1 if they do, 0 if stars take no notice, above 0 if a worse "
        "mask gets more stars. The rise is the most that a worse mask of a ladder gains over a better one: a valley "
        "that a network in training can get stuck in, or a hill that it can climb the wrong way. Only ladders that the "
        "rated planes show (their Dice falls) are judged.",
        measure_ladders,
        count_ladders,
    ),
    "exploitation": AuditPart(
        "Exploitation",
        "The question that decides whether a rating may be used as a loss without a target: an optimizer changes the "
        "mask for the sake of the stars alone, with no target. If stars rise and Dice falls, the checkpoint can be "
        "fooled, and a network trained on it alone would learn how. A checkpoint with a refiner is "
        "attacked with the refiner's guard on, as the loss has it by default, and off, from the same starts; the "
        "former is judged. A checkpoint without one has no guard. If Dice stays from the reference, and rises from "
        "wrong masks, the stars lead the right way. Noise and an empty mask are shown and not judged: no one says that "
        "a rating alone must find a {subject}.",
        measure_exploitation,
        count_exploitation,
        uses_steps=True,
    ),
    "direction": AuditPart(
        "Direction of the gradient",
        "On wrong masks, the first step: how far does the direction in which the stars rise agree with the direction "
        "in which Dice rises? The cosine is 1 for the same direction, 0 for none in common, below 0 for the opposite. "
        "A target's guard keeps the part of the gradient that moves a voxel toward the target; the share that it "
        "keeps is one half for a gradient without direction.",
        measure_direction,
        count_direction,
    ),
    "soft": AuditPart(
        "Soft masks",
        "A network in training puts out probabilities, and surrogates have mostly seen binary masks. The reference is "
        "made unsure at its outline (softening, a blur in voxels), unsure everywhere (temperature of its logits), or "
        "given a low probability in the whole volume (leak). Mild softness should not matter, and none should "
        "earn stars: otherwise being unsure becomes a goal.",
        measure_soft,
        count_soft,
    ),
    "invariance": AuditPart(
        "Invariance",
        "Changes of exam and mask together that make the mask neither better nor worse: other units and contrast, "
        "z-scored images, everything moved by a voxel or mirrored, a crop around the {subject}. Stars that move "
        "show how much of a difference between two masks is accident.",
        measure_invariance,
        count_invariance,
    ),
}
"""The parts by name, in the order in which they are run and shown."""
