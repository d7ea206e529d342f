"""Does filtering by stars help a federation that nobody can look into? Three sites, one of them with wrong masks.

    python examples/federated_curation/run.py                      # 3 seeds of 2 kinds of error
    python examples/federated_curation/run.py --kind erode dilate mixed --seeds 3 --out runs/federated

Each site rates its own masks, keeps the exams that are rated like its others (`local_work.rated_alike`), and trains a
small network that Flower's FedAvg averages; no image, mask or stars leave a site. Compared with training on all
exams, and with the oracle that knows which masks are wrong, by Dice on phantoms that no site has. A run that was
stopped goes on where it stopped.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Before Flower and Ray are imported: neither is to call home.
os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np
import pandas as pd
import torch
from phantom_sites import KINDS, Federation, lay_out, write_exams

from dqe_loss import REGIONS, load_surrogate
from dqe_loss.command_line import run_command
from dqe_loss.data.exams import read_exam
from dqe_loss.data.phantom.files import phantom_paths
from dqe_loss.extras import import_extra
from dqe_loss.options import CheckpointName, OutFolder
from dqe_loss.outputs import check_output_folder, write_together
from dqe_loss.resume import claim_folder
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.describe import describe_ratings

RULES = {"all": "no curation", "stars": "curation by stars", "truth": "oracle"}


@dataclass(frozen=True)
class FederatedCurationOptions:
    """Train a small network in a federation of phantoms with wrong masks: as they are, curated by stars, and by truth.

    Attributes:
        kind: Kinds of error, each a simulation of its own: names of dqe_loss.data.corruption, or mixed.
        seeds: How often each is simulated: exams dealt anew, others corrupted, other weights to start from.
        sites: Exams of each site; the last one has the wrong masks.
        share: Share of the last site's masks that are wrong.
        severity: Of the errors, up to 1.
        test: Phantoms to test on, at no site.
        rounds: Rounds of FedAvg.
        steps: Of the optimizer at each site in a round: as many whatever a rule keeps, so that none trains longer.
        learning_rate: Adam's in the first round; it falls to 0.
        processes: Sites that work at the same time.
    """

    kind: tuple[str, ...] = ("erode", "mixed")
    seeds: int = 3
    sites: tuple[int, ...] = (8, 8, 24)
    share: float = 1 / 3
    severity: float = 1.0
    test: int = 12
    rounds: int = 40
    steps: int = 25
    learning_rate: float = 0.005
    checkpoint: CheckpointName = "brainlesion"
    out: OutFolder = Path("runs/federated")
    processes: int = 2


def run_federations(arguments: FederatedCurationOptions) -> None:
    """Lay out, train, test, and tell."""
    started = time.monotonic()
    check(arguments)
    surrogate = load_surrogate(arguments.checkpoint)
    apps = import_extra("flower_apps", "federated")
    # The sites' processes may work in other folders.
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    check_settings(arguments, fingerprint(surrogate), out / "settings.json")

    count = sum(arguments.sites)
    write_exams(count + arguments.test, out / "phantoms")
    federations = [
        lay_out(kind, seed, arguments.sites, arguments.share, arguments.severity, out)
        for seed in range(arguments.seeds)
        for kind in arguments.kind
    ]
    checkpoint = arguments.checkpoint
    if Path(checkpoint).is_file():
        checkpoint = str(Path(checkpoint).resolve())

    def work(train_together: Any) -> None:
        test = read_test_exams(range(count, count + arguments.test), out)
        for federation in federations:
            for rule in RULES:
                path = run_path(federation, rule, out)
                if path.is_file():
                    continue
                begun = time.monotonic()
                arrays, told = train_together(
                    seed=federation.seed,
                    rounds=arguments.rounds,
                    sites=len(arguments.sites),
                    federation=str(federation.folder),
                    rule=rule,
                    steps=arguments.steps,
                    checkpoint=checkpoint,
                    **{"learning-rate": arguments.learning_rate},
                )
                dice = test_network(arrays, test)
                run = {"dice": dice, "sites": told, "seconds": time.monotonic() - begun}
                path.parent.mkdir(exist_ok=True)
                write_together({path: json.dumps(run).encode()})
                print(f"{federation.kind}, seed {federation.seed}, {RULES[rule]}: mean Dice {np.mean(dice):.3f}")

    if not all(run_path(federation, rule, out).is_file() for federation in federations for rule in RULES):
        simulate(apps, work, len(arguments.sites), arguments.processes)
    rows = [collect(federation, rule, out) for federation in federations for rule in RULES]
    report = {
        "arguments": asdict(arguments) | {"out": str(arguments.out)},
        "stars": describe_ratings(surrogate.config, arguments.checkpoint),
        "summary": summarize(rows),
        "runs": rows,
    }
    write_together({out / "results.json": (json.dumps(report, indent=1) + "\n").encode()})
    print(as_text(report["summary"]))
    print(f"{time.monotonic() - started:.0f} s. Written to {arguments.out}: results.json")


def check(arguments: FederatedCurationOptions) -> None:
    """Refuse what cannot work, before any work is done.

    Raises:
        ValueError: naming the argument.
    """
    unknown = set(arguments.kind) - set(KINDS)
    if unknown or not arguments.kind:
        raise ValueError(f"--kind must be of {', '.join(KINDS)}; got {', '.join(sorted(unknown)) or 'none'}")
    if len(arguments.sites) < 2 or min(arguments.sites) < 2:
        raise ValueError("expected --sites of two exams or more, and two sites or more")
    if not 0 < arguments.share < 0.5 or not 0 < arguments.severity <= 1:
        raise ValueError("expected --share in (0, 0.5), for most masks must be good, and --severity in (0, 1]")
    if min(arguments.seeds, arguments.test, arguments.rounds, arguments.steps, arguments.processes) < 1:
        raise ValueError("--seeds, --test, --rounds, --steps and --processes must be 1 or more")
    check_output_folder(arguments.out)


def check_settings(arguments: FederatedCurationOptions, checkpoint: str, path: Path) -> None:
    """Refuse to mix runs of different settings in one folder.

    Args:
        arguments: of this run.
        checkpoint: fingerprint of what rates, in its name's place: a file may have been written anew.
        path: JSON file of the settings of the runs before; written if there were none.

    Raises:
        ValueError: naming what differs.
    """
    free = {"kind", "seeds", "out", "processes"}
    chosen = {name: value for name, value in asdict(arguments).items() if name not in free}
    claim_folder(path, chosen | {"checkpoint": checkpoint}, "runs", "give another --out")


def simulate(apps: Any, work: Any, sites: int, processes: int) -> None:
    """Run the sites and the server as processes of this machine."""
    from flwr.simulation import run_simulation

    run_simulation(
        server_app=apps.make_server_app(work),
        client_app=apps.client_app,
        num_supernodes=sites,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": processes, "include_dashboard": False},
        },
    )


def read_test_exams(seeds: Sequence[int], out: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Planes and regions of the clean phantoms that no site has; nobody rates them."""
    from planes import take_training_planes

    exams = []
    for seed in seeds:
        exam = read_exam(phantom_paths(seed, out / "phantoms"), label_scheme="brats23")
        (labels,) = exam.segmentations.values()
        planes, regions = take_training_planes(exam.image, labels)
        exams.append((torch.from_numpy(planes), torch.from_numpy(regions)))
    return exams


def test_network(arrays: Any, test: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """Mean Dice of TC, WT, ET over the test exams."""
    from planes import dice_of_exam, make_network

    network = make_network(0)
    network.load_state_dict(arrays.to_torch_state_dict())
    return np.mean([dice_of_exam(network, *exam) for exam in test], 0).tolist()


def run_path(federation: Federation, rule: str, out: Path) -> Path:
    """Where a run's outcome is; the oracle's is that of every kind of error, for it trains on the same exams."""
    kind = "any" if rule == "truth" else federation.kind
    return out / "outcomes" / f"{kind}-{federation.seed}-{rule}.json"


def collect(federation: Federation, rule: str, out: Path) -> dict[str, Any]:
    """One run's outcome, with what it dropped: the simulation knows what the sites do not tell."""
    from local_work import rated_alike

    run = json.loads(run_path(federation, rule, out).read_text())
    counts = {"wrong": 0, "clean": 0, "wrong_dropped": 0, "clean_dropped": 0}
    for site in sorted(federation.folder.glob("site-*")):
        truth = pd.read_csv(site / "truth.csv")["corruption"]
        stars = pd.read_csv(site / "stars.csv")["mean"].to_numpy()
        kept = {"all": np.ones(len(truth), bool), "stars": rated_alike(stars), "truth": truth.isna().to_numpy()}[rule]
        for name, chosen in (("wrong", truth.notna()), ("clean", truth.isna())):
            counts[name] += int(chosen.sum())
            counts[f"{name}_dropped"] += int((chosen & ~kept).sum())
    dice = dict(zip(REGIONS, run["dice"], strict=True))
    mean = float(np.mean(run["dice"]))
    return {"kind": federation.kind, "seed": federation.seed, "rule": rule, "dice": dice, "mean_dice": mean, **counts}


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, and the distances between the rules, seed by seed."""
    table = pd.DataFrame(rows)
    oracle = table[table["rule"] == "truth"].set_index(["kind", "seed"])["mean_dice"]
    nothing = table[table["rule"] == "all"].set_index(["kind", "seed"])["mean_dice"]
    summary = []
    for (kind, rule), part in table.groupby(["kind", "rule"], sort=False):
        dice = part.set_index(["kind", "seed"])["mean_dice"]
        row = {"kind": kind, "rule": rule, "seeds": len(part)}
        for name, values in (
            ("mean_dice", dice),
            ("below_oracle", oracle.loc[dice.index] - dice),
            ("above_no_curation", dice - nothing.loc[dice.index]),
        ):
            row |= {name: float(values.mean()), f"{name}_sd": float(values.std()) if len(part) > 1 else None}
        row |= {n: int(part[n].sum()) for n in ("wrong_dropped", "wrong", "clean_dropped", "clean")}
        summary.append(row)
    return summary


def as_text(summary: list[dict[str, Any]]) -> str:
    """The summary as a table in Markdown."""

    def number(row: dict[str, Any], name: str) -> str:
        spread = row[f"{name}_sd"]
        return f"{row[name]:.3f}" + ("" if spread is None else f" ± {spread:.3f}")

    lines = [
        "| error | training on | mean Dice | below the oracle | above no curation | wrong dropped | clean dropped |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        lines.append(
            f"| {row['kind']} | {RULES[row['rule']]} | {number(row, 'mean_dice')} | {number(row, 'below_oracle')} "
            f"| {number(row, 'above_no_curation')} | {row['wrong_dropped']} of {row['wrong']} "
            f"| {row['clean_dropped']} of {row['clean']} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example, and tell what is wrong in one line."""
    return run_command("run.py", FederatedCurationOptions, run_federations, argv)


if __name__ == "__main__":
    sys.exit(main())
