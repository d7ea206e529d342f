"""What stars are good for: patches, curation, watching, errors found by the gradient, surrogates of one's own."""

from typing import Any

from stored import Figures, load, number, percent, select, stored_tables, table

_ERROR = {"other": "another exam's mask", "whole_brain": "whole brain"}


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


def curation() -> Figures:
    """Which wrong masks a site finds by their stars alone."""
    kinds = {name: load(f"curation_rule{end}.json") for name, end in (("published", ""), ("former", "_hardened"))}
    summary = {name: {row["error"]: row for row in kind["summary"]} for name, kind in kinds.items()}
    errors = [error for error in summary["published"] if error.endswith(":1.0")]
    errors.sort(key=lambda error: -summary["published"][error]["wrong_dropped"])
    rows = []
    for error in errors:
        name = error.partition(":")[0]
        cells = [
            cell
            for found in summary.values()
            for cell in (number(found[error]["mean"], 1), percent(found[error]["wrong_dropped"]))
        ]
        rows.append([_ERROR.get(name, name), *cells])
    header = ["error", "published: stars", "dropped", "earlier default: stars", "dropped"]
    good = {name: found["none"] for name, found in summary.items()}
    dropped = max(row.get("good_dropped", 0.0) for found in summary.values() for row in found.values())
    return {"table": table(header, rows), "good_dropped": percent(dropped)} | {
        key: text
        for name, found in summary.items()
        for key, text in {
            f"{name}_good": f"{number(good[name]['mean'])} ± {number(good[name]['sd'])}",
            f"{name}_dropped": percent(sum(found[error]["wrong_dropped"] for error in errors) / len(errors)),
        }.items()
    }


def federated() -> Figures:
    """What curation by stars brings to a federation of phantoms."""
    rules = {"all": "no curation", "stars": "stars", "truth": "the oracle"}
    rows = []
    for name, end in (("published", ""), ("an earlier default", "_hardened")):
        for row in load(f"federated_curation{end}.json")["summary"]:
            if row["rule"] != "stars" and end:
                continue  # runs that no surrogate has a part in are the same
            by = f"stars ({name})" if row["rule"] == "stars" else rules[row["rule"]]
            rows.append([
                row["kind"],
                by,
                _spread(row, "mean_dice"),
                "–" if row["rule"] == "all" else _spread(row, "above_no_curation", sign=True),
                f"{row['wrong_dropped']} of {row['wrong']}",
                f"{row['clean_dropped']} of {row['clean']}",
            ])  # fmt: skip
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


def saliency() -> Figures:
    """What share of a gradient falls on the error."""
    stored = {"published": stored_tables("saliency/table.md"), "former": stored_tables("saliency_hardened/table.md")}
    first = {name: {row["reading"]: row for row in found[0]} for name, found in stored.items()}
    readings = [
        [name, *(f"{found[name]['share']} ({found[name]['lift']})" for found in first.values())]
        for name in first["published"]
    ]
    names = {"error": "error", "share": "share", "chance": "chance", "lift": "lift"}
    names |= {"outline's lift": "lift, outline of the mask, no network"}
    return {
        "table": table(["map", "published: share (lift)", "earlier default: share (lift)"], readings),
        **{name: select(found[1], names).replace("_", " ") for name, found in stored.items()},
    }


def presets() -> Figures:
    """What each preset learned from phantoms in a few epochs."""
    [rows] = stored_tables("presets/table.md")
    names = {"preset": "preset", "epochs": "epochs", "MAE": "MAE", "RMSE": "RMSE", "r": "r"}
    names |= {"the paper's MAE, RMSE, r": "paper's MAE, RMSE, r (human ratings)"}
    return {"table": select(rows, names)}
