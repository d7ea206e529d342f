"""Which wrong masks a site can find by their stars alone: the rule of the federated example, without any training.

    python benchmarks/curation_rule.py --out benchmarks/results/curation_rule.json

Each phantom's mask is rated as it is and with each kind of error. A site is then drawn many times: two thirds of its
exams have good masks, one third have wrong ones of one kind; the rule (`local_work.rated_alike`) sees the stars alone,
with a survey where there is a refiner, as the example's sites rate.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dqe_loss import load_surrogate
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.data.phantom import make_phantom
from dqe_loss.outputs import check_outputs, write_together
from dqe_loss.surrogate.rating import rate_segmentation
from dqe_loss.surrogate.survey import is_surveyed

sys.path.append(str(Path(__file__).parents[1] / "examples" / "federated_curation"))
from local_work import rated_alike

FIRST = 500
"""The example's sites have phantoms 0 and up: the rule was chosen on others."""
DRAWS = 500


def rate_masks(count: int, checkpoint: str, severities: Sequence[float]) -> list[tuple[int, str, float]]:
    """Seed, error and mean stars of each mask."""
    surrogate = load_surrogate(checkpoint)
    thorough = is_surveyed(surrogate.config, True)
    other = make_phantom(999).segmentations["reference"]
    rows = []
    for seed in tqdm(range(FIRST, FIRST + count)):
        exam = make_phantom(seed)
        reference, brain = exam.segmentations["reference"], (exam.image != 0).any(0)
        masks = {"none": reference}
        for kind in CORRUPTIONS:
            for severity in severities:
                rng = np.random.default_rng([seed, 1])
                steps = [(kind, severity)]
                masks[f"{kind}:{severity}"] = corrupt(reference, steps, rng=rng, brain=brain, other=other)
        image = torch.from_numpy(exam.image)[None]
        for name, mask in masks.items():
            labels = torch.from_numpy(mask)[None, None]
            stars = rate_segmentation(surrogate, image, labels, thorough=thorough)
            rows.append((seed, name, stars.mean().item()))
        other = reference
    return rows


def summarize(rows: list[tuple[int, str, float]]) -> list[dict[str, Any]]:
    """For each error: mean stars, and shares of wrong and of good masks that the rule drops at a site."""
    stars = defaultdict(list)
    for _, name, value in rows:
        stars[name].append(value)
    good = np.array(stars.pop("none"))
    wrong_count = len(good) // 3
    summary = [{"error": "none", "mean": float(good.mean()), "sd": float(good.std(ddof=1))}]
    for name, values in stars.items():
        rng = np.random.default_rng(0)
        dropped = np.zeros(2)
        for _ in range(DRAWS):
            order = rng.permutation(len(good))
            wrong, right = order[:wrong_count], order[wrong_count:]
            kept = rated_alike(np.concatenate([good[right], np.array(values)[wrong]]))
            dropped += (~kept[len(right) :]).mean(), (~kept[: len(right)]).mean()
        wrong_dropped, good_dropped = (dropped / DRAWS).tolist()
        shares = {"wrong_dropped": wrong_dropped, "good_dropped": good_dropped}
        summary.append({"error": name, "mean": float(np.mean(values)), **shares})
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=13)
    parser.add_argument("--severities", type=float, nargs="+", default=(0.6, 1.0))
    parser.add_argument("--checkpoint", default="brainlesion")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    check_outputs([arguments.out] if arguments.out else [])
    torch.set_num_threads(1)
    rows = rate_masks(arguments.phantoms, arguments.checkpoint, arguments.severities)
    summary = summarize(rows)
    print(*summary, sep="\n")
    if arguments.out:
        content = {
            "checkpoint": arguments.checkpoint,
            "phantoms": arguments.phantoms,
            "summary": summary,
            "stars": rows,
        }
        write_together({arguments.out: (json.dumps(content) + "\n").encode()})


if __name__ == "__main__":
    main()
