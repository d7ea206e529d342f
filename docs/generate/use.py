"""What stars are good for: patches, curation, watching, surrogates of one's own."""

from typing import Any

from stored import Figures, load, median, number, percent, rows_of, select, stored_tables, table

_ERROR = {"other": "another exam's mask", "whole_brain": "whole brain"}
GOOD, FAILED = 0.9, 0.7
"""Mean Dice from which on a network's mask counts as good here, and below which as failed."""


def patches() -> Figures:
    """Stars of crops against those of the whole mask."""
    stored = load("patches.json")
    rows, ways = [], {"padded": "padded", "in place": "origin"}
    for row in stored["summary"]:
        if row["prediction"] == "reference":
            continue
        cells = [_distance(row, way) for way in ways.values()]
        cells += [f"{row[f'{way}: follows, %']:.0f} %" for way in ways.values()]
        rows.append([row["crop"].replace("^3", "³"), row["prediction"], *cells])
    header = ["crop", "prediction", "padded: mean (worst)", "in place: mean (worst)"]
    header += ["padded follows", "in place follows"]
    missed = [row["padded: follows, %"] for row in stored["summary"] if row["prediction"].startswith("shifted")]
    return {"table": table(header, rows), "missed": f"{100 - max(missed):.0f} to {100 - min(missed):.0f} %"}


def _distance(row: dict[str, Any], way: str) -> str:
    """Mean and largest distance of a crop's stars from the whole mask's."""
    return f"{number(row[f'{way}: mean abs. d'])} ({number(abs(row[f'{way}: worst d']))})"


def nnunet() -> Figures:
    """Stars of expert masks as nnU-Net's training shows them."""
    stored = load("nnunet_augmentation.json")
    rows = []
    for row in stored["summary"]:
        cells = [row["step"]]
        for name in stored["settings"]["checkpoints"]:
            cells.append(number(row[f"{name}: stars"]))
            worst = number(abs(row[f"{name}: worst d"]), 1)
            cells.append("–" if row["step"] == "raw" else f"{number(row[f'{name}: mean abs. d'])} ({worst})")
        rows.append(cells)
    names = {"hardened": "default", "brainlesion": "published"}
    header = [f"{names[name]}: {what}" for name in stored["settings"]["checkpoints"] for what in ("stars", "away")]
    return {
        "table": table(["step", *header], rows),
        "exams": str(len({record["exam"] for record in stored["stars"]})),
        "draws": str(stored["settings"]["draws"]),
    }


def nnunet_real() -> Figures:
    """A short training of nnU-Net's on real exams, as its log tells it."""
    stored = load("nnunet_real.json")
    columns = {
        "stars_train": "stars, training",
        "stars_val": "stars, validation",
        "target_stars": "stars of the targets",
        "gradient_ratio": "gradient ratio",
        "guard_kept": "kept by the guard",
        "rated": "patches rated",
        "train_loss": "train_loss",
        "val_loss": "val_loss",
    }
    rows = [[str(row["epoch"]), *(number(row[name]) for name in columns)] for row in stored["epochs"]]
    seconds, memory = stored["cpu_seconds"], stored["largest_memory_gib"]
    validation = seconds["validation_step"]
    return {
        "table": table(["epoch", *columns.values()], rows),
        "iterations": str(stored["settings"]["iterations"]),
        "without": median(seconds["step_in_warm_up"], 0),
        "with": median(seconds["step_with_term"], 0),
        "validation": f"{number(validation[0], 0)} to {number(validation[-1], 0)}",
        "term": median(seconds["term"], 1),
        "memory": f"{number(memory['in_warm_up'], 1)} and {number(memory['with_term'], 1)}",
        "targets": number(stored["check"]["target_stars"], 1),
        "test": number(stored["test"]["stars_mean"], 1),
    }


def curation() -> Figures:
    """Which wrong masks a site finds by the published stars alone."""
    found = {row["error"]: row for row in load("curation_rule.json")["summary"]}
    errors = [error for error in found if error.endswith(":1.0")]
    errors.sort(key=lambda error: -found[error]["wrong_dropped"])
    names = (error.partition(":")[0] for error in errors)
    rows = [
        [_ERROR.get(name, name), number(found[error]["mean"], 1), percent(found[error]["wrong_dropped"])]
        for name, error in zip(names, errors, strict=True)
    ]
    good = found["none"]
    return {
        "table": table(["error", "stars", "dropped"], rows),
        "good_dropped": percent(max(row.get("good_dropped", 0.0) for row in found.values())),
        "good": f"{number(good['mean'])} ± {number(good['sd'])}",
        "dropped": percent(sum(found[error]["wrong_dropped"] for error in errors) / len(errors)),
    }


def federated() -> Figures:
    """What curation by the published stars brings to a federation of phantoms."""
    rules = {"all": "no curation", "stars": "stars (published)", "truth": "the oracle"}
    rows = [
        [
            row["kind"],
            rules[row["rule"]],
            _spread(row, "mean_dice"),
            "–" if row["rule"] == "all" else _spread(row, "above_no_curation", sign=True),
            f"{row['wrong_dropped']} of {row['wrong']}",
            f"{row['clean_dropped']} of {row['clean']}",
        ]
        for row in load("federated_curation.json")["summary"]
    ]
    header = ["errors", "curation by", "mean Dice", "above no curation", "wrong masks dropped", "good masks dropped"]
    return {"table": table(header, rows)}


def _spread(row: dict[str, Any], key: str, *, sign: bool = False) -> str:
    """Mean and standard deviation over seeds."""
    return f"{number(row[key], 3, sign=sign)} ± {number(row[f'{key}_sd'], 3)}"


def drift() -> Figures:
    """How soon a watch of stars finds a change."""
    stored = load("drift.json")
    exams, rows = int(stored["settings"]["exams"]), stored["rows"]
    header = ["stars, reference", "false alarms per 1000", "z-test's", "−0.2", "−0.4", "+0.4", "10 % fail", "25 % fail"]

    def delay(found: dict[str, float]) -> str:
        long, late = found["median"], found["90 %"]
        return f"{long:.0f} ({f'>{exams}' if late > exams else f'{late:.0f}'})"

    cells = [
        [
            f"{row['shape']}, {row['reference']}",
            f"{number(row['false_alarms_per_1000'])} ± {number(row['false_alarms_per_1000_standard_error'])}",
            number(row["rolling_z_test_per_1000"], 1),
            *map(delay, row["delays"].values()),
        ]
        for row in rows
    ]
    often = [row["rolling_z_test_per_1000"] / row["false_alarms_per_1000"] for row in rows]
    small = next(
        row for row in rows if row["shape"] == "normal" and row["reference"] == min(r["reference"] for r in rows)
    )
    return {
        "table": table(header, cells),
        "allowed": number(rows[0]["allowed_per_1000"], 1),
        "often": f"{min(often):.0f} to {max(often):.0f}",
        "missed": percent(next(iter(small["delays"].values()))[f"missed in {exams}"]),
    }


def networks() -> Figures:
    """Stars of good masks and of failures of real networks, on an exam that has both."""
    stars: dict[str, dict[str, list[float]]] = {}
    for name, folder in (("published", "evaluation_real_exams"), ("default", "evaluation_real_exams_hardened")):
        rows = [row for row in rows_of(f"{folder}/predictions.csv") if row["exam"].startswith("TCGA")]
        pairs = [(float(row["stars_mean"]), float(row["dice_mean"])) for row in rows]
        stars[name] = {
            "good": [value for value, dice in pairs if dice >= GOOD],
            "failed": [value for value, dice in pairs if dice < FAILED],
        }
    return {
        f"{name}_{kind}": f"{number(min(values), 1)} to {number(max(values), 1)}"
        for name, found in stars.items()
        for kind, values in found.items()
    } | {kind: str(len(values)) for kind, values in stars["default"].items()}


def latent_targets() -> Figures:
    """What networks learn from the raters' mean, and from targets that correct for raters."""
    stored = load("latent_targets.json")
    by_raters: dict[str, dict[str, dict[str, Any]]] = {}
    for row in stored["summary"]:
        by_raters.setdefault(row["raters"], {})[row["target"]] = row
    rows = [
        [
            raters,
            *(
                f"{number(found['mean'][key])} → {number(found['latent'][key])}"
                for key in ("target_rmse", "rmse", "mae")
            ),
            f"{number(found['mean']['pearson'], 3)} → {number(found['latent']['pearson'], 3)}",
            found["latent"]["ahead"],
        ]
        for raters, found in by_raters.items()
    ]
    header = ["raters", "targets' error", "network's error", "its mean absolute error", "r with the truth", "seeds won"]
    settings = stored["settings"]
    return {"table": table(header, rows), "exams": str(settings["phantoms"] * 3 // 4)}


def presets() -> Figures:
    """What each preset learned from phantoms in a few epochs."""
    [rows] = stored_tables("presets/table.md")
    names = {"preset": "preset", "epochs": "epochs", "MAE": "MAE", "RMSE": "RMSE", "r": "r"}
    names |= {"the paper's MAE, RMSE, r": "paper's MAE, RMSE, r (human ratings)"}
    return {"table": select(rows, names)}
