"""From a cross-validation to the checkpoint that ships: its gate, what its stars mean in Dice, its file and card."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from _hardening_figures import JUDGED
from _hardening_gate import Gate
from _hardening_groups import PHANTOMS
from _hardening_pool import Pooled, stars_of

from dqe_loss.core.centers import told_centers
from dqe_loss.evaluate.dice_calibration import LEAST_GROUPS, fit_dice_map
from dqe_loss.harden.card import NOT_TOLD
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.hardening import harden
from dqe_loss.surrogate.checkpoint import add_dice_map, assemble, load_surrogate, save_surrogate, weights_of
from dqe_loss.surrogate.dice_map import DiceMap
from dqe_loss.surrogate.survey import refiner_of

TOLD = """**Sources of the exams.** Public repositories on GitHub, none of which gives its exams a clear data licence;
the exams themselves are no part of the package. BrainLesion/deep_quality_estimation (BraTS-GLI-00001-000);
hongweilibran/BraSyn (BraTS-GLI-00000-000); BrainLesion/tutorials (TCGA-FG-6692); VoxLogicA-Project/VoxLogicA-UI (those
of BraTS19, with masks from HunorLaczko/IPCV-TRDP_BraTS_2020, modelhub-ai/deepscan-brats and
michaelliqx/Deecamp-MRI-Segmentation); patliao/SYSC4907-Glioma-Growth-Visualization (those of BraTS2021).

**Where it fails.** Tumors without enhancement: it takes large cores for edema, and their right masks lose stars
(BraTS2021_01477, BraTS2021_01484). Cores that the three planes hardly meet (BraTS19_2013_4_1). So judged by refiners
taught like this one that had not seen the exam's source; figures: docs/results/hardening.md in the repository."""
"""What the card of the shipped checkpoint says in place of `NOT_TOLD`; NOTICE tells the same of the data's licence."""


def ship(taught: HardenConfig, pooled: Pooled, weights: Path) -> None:
    """Write a taught refiner's checkpoint with a cross-validation's gate and map, and its card beside it.

    Args:
        taught: the finished hardening on all exams.
        pooled: the cross-validation; its gate is the one that ships.
        weights: the file to write, .safetensors.

    Raises:
        ValueError: the hardening is not finished, or there are too few groups for a map.
    """
    folder = taught.out.with_name(weights.stem)
    folder.mkdir(exist_ok=True)
    # Resuming a finished hardening teaches nothing, and writes checkpoint and card with the gate that it is given.
    shutil.copy(taught.out / "state.pt", folder / "state.pt")
    gate = pooled.gate
    harden(replace(taught, out=folder, resume=True, **asdict(gate)))
    dice_map = dice_map_of(pooled)
    card = tell((folder / "surrogate.md").read_text()).rstrip("\n")
    save_surrogate(load_surrogate(folder / "surrogate.safetensors"), weights, card=card, half=True)  # as it is stored
    add_dice_map(weights, dice_map)
    weights.with_suffix(".md").write_text(f"{card}\n\n{dice_map.card()}")


def tell(card: str) -> str:
    """A card of a hardening with what is known of the exams.

    Raises:
        ValueError: the card does not say that it is not told.
    """
    if NOT_TOLD not in card:
        raise ValueError("expected a card that leaves open where its exams come from, got one that does not")
    return card.replace(NOT_TOLD, TOLD)


def write_gated(taught: Path, gate: Gate, weights: Path) -> None:
    """Write a taught refiner's checkpoint with another gate: what ships, had the refiner not seen a group.

    Args:
        taught: the checkpoint as it was taught.
        gate: the gate that ships.
        weights: the file to write, .safetensors.
    """
    surrogate = load_surrogate(taught)
    refiner = replace(refiner_of(surrogate), **asdict(gate))
    gated = assemble(replace(surrogate.config, refiner=refiner), weights_of(surrogate))
    save_surrogate(gated, weights, half=True)  # as what was taught is stored: nothing is lost


def measure_coverage(pooled: Pooled) -> dict[str, float]:
    """Share of each group's expert, natural and corrupted masks whose mean Dice reaches the conformal bound.

    Each group is judged by a map and a width of the other groups (`fit_dice_map`), from stars of refiners that saw none
    of the masks' groups.

    Returns:
        By group; empty with fewer groups than that takes.
    """
    enough = len(set(pooled.masks["group"]) - {PHANTOMS}) >= LEAST_GROUPS
    return dict(dice_map_of(pooled).coverage) if enough else {}


def dice_map_of(pooled: Pooled) -> DiceMap:
    """What the stars of refiners that had not seen the masks' groups stand for."""
    masks = pooled.masks[pooled.masks["kind"].isin(JUDGED) & (pooled.masks["group"] != PHANTOMS)]
    stars = stars_of(masks, pooled.gate)
    exams, groups = masks["exam"].nunique(), masks["group"].nunique()
    told = f"{len(masks)} expert, network and corrupted masks of {exams} exams from {groups} groups"
    return fit_dice_map(
        stars.to_numpy(),
        masks["dice"].to_numpy(),
        masks["group"].tolist(),
        learned_from=told,
        center=" ".join(told_centers(("mask",), True)),
    )
