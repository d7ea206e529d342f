"""What it costs in time and memory."""

import statistics
from typing import Any

from stored import Figures, load, median, number, table


def rating() -> Figures:
    """Exams a second, beside the published package."""
    stored = load("inference_throughput.json")
    seconds, calls = stored["seconds_per_call"], stored["exams_per_call"]
    rows = []
    for start in ("gz files", "plain files", "arrays"):
        theirs, ours = (seconds[f"{by}, {start}"] for by in ("upstream", "dqe_loss"))
        ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
        rows.append([start, *(number(1 / statistics.median(s), 1) for s in (theirs, ours)), _range(ratios)])
    batch = stored["batch"]
    name = f"dqe_loss, tensors, batch {batch}, float32"
    rows.append([f"tensors, batch of {batch}", "–", number(calls[name] / statistics.median(seconds[name]), 1), "–"])
    return {
        "table": table(["from", "published package", "dqe_loss", "ratio (range)"], rows),
        "processor": stored["machine"]["processor"],
        "files": table(["ms of processor time an exam", *_FILES], _stages(load("file_throughput.json"))),
    }


_FILES = ["published, gz", "dqe_loss, gz", "published, plain", "dqe_loss, plain"]


def _range(values: list[float]) -> str:
    """The median, and the range behind it."""
    return f"{median(values, 1)} ({number(min(values), 1)} to {number(max(values), 1)})"


def _stages(stored: dict[str, Any]) -> list[list[str]]:
    """Processor time of each stage, and exams a second of all of them."""
    by = {(row["files"], row["stage, ms of processor an exam"]): row for row in stored["rows"]}
    totals = {(row["files"], row["by"]): number(row["exams/s"], 1) for row in stored["totals"]}
    stages = [stage for kind, stage in by if kind == "gz" and stage != "worker processes"]
    columns = [(kind, who) for kind in ("gz", "plain") for who in ("upstream", "dqe_loss")]
    rows = [[stage, *(number(by.get((kind, stage), {}).get(who), 0) for kind, who in columns)] for stage in stages]
    names = {"upstream": "upstream", "dqe_loss": "dqe_loss, torch"}
    rows.append(["**exams a second**", *(totals[kind, names[who]] for kind, who in columns)])
    openvino = ["–" if who == "upstream" else totals[kind, "dqe_loss, openvino"] for kind, who in columns]
    return [*rows, ["the same with OpenVINO", *openvino]]


def loss() -> Figures:
    """What the term adds to a training step on a CPU."""
    stored = load("loss_overhead.json")
    steps = {(row["measured"], row["criterion"]): row for row in stored["step"]}
    alone = "criterion forward and backward alone"
    full = next(row for row in reversed(stored["memory"]) if row["criterion"] == "DiceLoss + DQELoss")
    thrifty = next(row for row in reversed(stored["memory"]) if "checkpointing" in row["criterion"])
    ways = {
        "as MONAI runs the network (before)": "DiceLoss + DQELoss, network as MONAI runs it",
        "default": "DiceLoss + DQELoss",
        "crop in its place (`origin=`)": "DiceLoss + DQELoss, origin=",
        "`every=2`": "DiceLoss + DQELoss(every=2)",
    }
    seconds, dice = stored["criterion_seconds"], min(stored["criterion_seconds"]["DiceLoss"])
    rows = [
        [name, number(min(seconds[case]) - dice), f"{steps[alone, case]['share of the step, %']:.1f} %"]
        for name, case in ways.items()
    ]
    return {
        "step": number(min(stored["step_seconds"]["eager"]["DiceLoss"])),
        "share": rows[1][-1],
        "table": table(["term", "adds, s", "of the step"], rows),
        "memory": number(full["tensors, added"]),
        "memory_checkpointing": number(thrifty["tensors, added"]),
    }


def training() -> Figures:
    """Planes a second of the training of a surrogate, and how long an import takes."""
    stages = load("training_throughput.json")["table"]
    rows = [[row["stage"], row["ms a plane"].replace("-", " to "), number(row["planes/s"], 1)] for row in stages]
    seconds = load("import_time.json")["seconds"]
    return {
        "table": table(["stage", "ms a plane (range)", "planes a second"], rows),
        "augmented": number(load("augmentation.json")["planes_per_second"], 0),
        "import": median(seconds["dqe_loss"], 1),
        "import_monai": median(seconds["monai.losses"], 1),
    }


def install() -> Figures:
    """What each extra takes to install, beside PyTorch."""
    stored = load("install.json")
    rows = [
        [
            "none" if row["extra"] == "none" else ", ".join(f"`{extra}`" for extra in row["extra"].split(",")),
            str(row["packages"]),
            f"{row['MB']:.0f} MB",
            f"{row['s']:.0f} s",
        ]
        for row in stored["rows"]
    ]
    return {
        "table": table(["extras", "packages", "size", "time"], rows),
        "torch": f"{stored['torch_megabytes']:.0f} MB",
        "build": stored["torch"],
        "torch_seconds": f"{stored['torch_seconds']:.0f} s",
    }


def cases() -> Figures:
    """The page of cases in a browser."""
    steps = {"load (ms)": "load", "filter (ms)": "filter", "sort (ms)": "sort", "open a case (ms)": "open a case"}
    rows = [
        [str(row["pictures"]), f"{row['megabytes']:.0f} MB", *(f"{row[step] / 1000:.2f} s" for step in steps)]
        for row in load("page_of_cases.json")["rows"]
    ]
    return {"table": table(["pictures", "size", *steps.values()], rows)}


def many() -> Figures:
    """Processor time of rating, stage by stage, and what 100,000 exams would take."""
    stored = load("rate_many.json")
    stages = {row["stage"]: row["CPU seconds"] for row in stored["stages"]}
    read, _, gz, plain, planes, late, network = stages.values()
    whole = {
        "one mask, gz": read + gz + planes + network,
        "one mask, plain": read + plain + late + network,
        "three masks, gz": read + gz + 3 * (planes + network),
    }
    rows = [[name, number(value, 3), number(value / 0.036, 1)] for name, value in stages.items()]
    rows += [[f"**{name}, all stages**", number(value), number(value / 0.036, 0)] for name, value in whole.items()]
    killed = stored["killed"]
    return {
        "table": table(["stage", "CPU seconds an exam", "core hours for 100,000 exams"], rows),
        "exams": str(stored["settings"]["exams"]),
        "masks": str(stored["settings"]["masks"]),
        "killed": str(killed["exams when killed"]),
        "rows": str(killed["rows of the table"]),
        "reading": number(read + gz + planes),
        "network": f"{100 * network / whole['one mask, gz']:.0f} %",
    }


def gpu() -> Figures:
    """Rating and loss on a GPU."""
    stored = load("gpu/gpu.json")
    rate, step, single = (stored["parts"][part]["summary"] for part in ("inference", "loss", "rate"))
    modes = ("float32", "float32, TF32", "bf16", "bf16, CUDA graph")
    rows = [
        [mode, *(f"{rate[f'{name}, {mode}, exams/s']:.0f}" for name in ("published", "hardened"))] for mode in modes
    ]
    nnunet = "nnU-Net 3d_fullres, batch 2"
    networks = ("SegResNet, batch 1", "SegResNet, batch 2", nnunet)
    what = stored["parts"]["loss"]["details"]["nnunet"]
    steps = [
        [
            f"{what}, batch 2" if network == nnunet else network,
            f"{step[f'{network}, DiceLoss, ms']:.0f} ms",
            *(_added(step, f"{network}, {name} adds") for name in ("published", "hardened")),
        ]
        for network in networks
    ]
    added = [step[f"{network}, hardened adds, ms"] for network in networks]
    one = single["exams/s, batch 1, thorough=False"], single["exams/s, batch 1, thorough=True"]
    passed = stored["parts"]["tests"]["summary"].get("passed", 0)
    return {
        "date": stored["date"][:10],
        "of": f"commit {stored['commit'][:7]}"
        if "commit" in stored
        else "the default weights and loss of before 9144cc2",
        "tests": f"{passed} tests passed" if passed else "no test ran",
        "card": stored["card"]["name"].removeprefix("NVIDIA "),
        "rating": table(["arithmetic", "published: exams a second", "default: exams a second"], rows),
        "loss": table(["network", "step with Dice", "published adds", "default adds"], steps),
        "added": f"{min(added):.0f} to {max(added):.0f} ms",
        "single": f"{one[0]:.0f}",
        "single_survey": f"{one[1]:.0f}",
    }


def _added(step: dict[str, float], name: str) -> str:
    """Time that a term adds to a step, and its share of the step."""
    return f"{step[f'{name}, ms']:.0f} ms ({step[f'{name}, % (goal 5 %)']:.0f} %)"


def collect() -> Figures:
    """How long raters wait (``benchmarks/collect_load.py``)."""
    stored = load("collect_load.json")
    waits = stored["milliseconds"]
    return {
        "raters": str(stored["raters"]),
        "cases": str(stored["cases"]),
        "answer_p95": f"{waits['answer']['p95']:.0f} ms",
        "answer_longest": f"{waits['answer']['max']:.0f} ms",
        "picture_p95": f"{waits['picture']['p95']:.0f} ms",
        "cores": str(stored["machine"]["cores"]),
        "load": f"{stored['machine']['load_average']:.0f}",
    }
