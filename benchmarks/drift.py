"""False alarms of `dqe_loss.monitor.drift` per 1000 exams, and exams until a departure is seen, by simulation.

    python benchmarks/drift.py --out benchmarks/results/drift.json

Stars are drawn from two shapes: normal, and skewed to the left as ratings at the top of a scale are (a Beta
distribution), each scaled to mean 4.8 and standard deviation 0.4; 3 % of exams fail (1 to 3 stars). Beside the watch: a
z-test of the rolling mean of 50 exams against the reference at p < 0.01, two-sided, after every exam, which is what one
writes first.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dqe_loss.monitor.drift import DriftWatch, find_alarms
from dqe_loss.outputs import check_outputs, write_together

FAILING = 0.03
WINDOW = 50
LONGEST = 2000
CHANGES = {
    "mean falls by 0.2 stars (0.5 SD)": {"shift": -0.2},
    "mean falls by 0.4 stars (1 SD)": {"shift": -0.4},
    "mean rises by 0.4 stars (1 SD)": {"shift": 0.4},
    "10 % fail instead of 3 %": {"failing": 0.1},
    "25 % fail instead of 3 %": {"failing": 0.25},
}


def draw(
    rng: np.random.Generator, count: int, shape: str, shift: float = 0.0, failing: float = FAILING
) -> NDArray[np.float64]:
    if shape == "normal":
        unit = rng.normal(size=count)
    else:
        a, b = 6.0, 1.5
        spread = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        unit = (rng.beta(a, b, count) - a / (a + b)) / spread
    stars = 4.8 + shift + 0.4 * unit
    return np.where(rng.random(count) < failing, rng.uniform(1, 3, count), stars)


def rolling_z(reference: NDArray[np.float64], stars: NDArray[np.float64]) -> list[int]:
    """Exams after which the z-test of the rolling mean rejects; after each the window starts anew."""
    mean, variance = reference.mean(), reference.var(ddof=1)
    alarms, begin = [], 0
    for exam in range(len(stars)):
        if exam + 1 - begin < WINDOW:
            continue
        z = (stars[exam + 1 - WINDOW : exam + 1].mean() - mean) / np.sqrt(variance / WINDOW)
        if abs(z) > 2.576:
            alarms.append(exam)
            begin = exam + 1
    return alarms


def measure(shape: str, reference_size: int, patience: int, repeats: int, exams: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    false_alarms, naive = [], []
    for repeat in range(repeats):
        reference, stars = draw(rng, reference_size, shape), draw(rng, exams, shape)
        false_alarms.append(len(find_alarms(DriftWatch(reference, patience=patience, seed=repeat), stars)))
        naive.append(len(rolling_z(reference, stars)))
    delays = {}
    for name, change in CHANGES.items():
        seen = []
        for repeat in range(repeats):
            watch = DriftWatch(draw(rng, reference_size, shape), patience=patience, seed=repeat)
            find_alarms(watch, draw(rng, 100, shape))  # the change comes after 100 exams of no change
            changed = draw(rng, LONGEST, shape, **change)
            seen.append(next((n for n, star in enumerate(changed, 1) if watch.add(star)), LONGEST + 1))
        delays[name] = {
            "median": float(np.median(seen)),
            "90 %": float(np.quantile(seen, 0.9)),
            "missed in 2000": float(np.mean(np.array(seen) > LONGEST)),
        }
    thousands = exams / 1000
    return {
        "shape": shape,
        "reference": reference_size,
        "patience": patience,
        "false_alarms_per_1000": float(np.mean(false_alarms)) / thousands,
        "false_alarms_per_1000_standard_error": float(np.std(false_alarms) / np.sqrt(repeats)) / thousands,
        "allowed_per_1000": 1000 / patience,
        "rolling_z_test_per_1000": float(np.mean(naive)) / thousands,
        "delays": delays,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--exams", type=int, default=3000)
    parser.add_argument("--patience", type=int, default=5000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    check_outputs([arguments.out] if arguments.out else [])
    plan = [(shape, size) for shape in ("normal", "skewed") for size in (50, 200, 1000)]
    options = (arguments.patience, arguments.repeats, arguments.exams)
    rows = [measure(shape, size, *options, seed=0) for shape, size in tqdm(plan)]
    for row in rows:
        print(json.dumps(row))
    if arguments.out:
        settings = {name: str(value) for name, value in vars(arguments).items() if name != "out"}
        write_together({arguments.out: (json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n").encode()})


if __name__ == "__main__":
    main()
