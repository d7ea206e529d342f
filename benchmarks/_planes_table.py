"""Tables of trainings: what each weight and each safeguard did to Dice and stars, against Dice alone."""

import statistics

from _cells import Result
from _planes_training import VARIANTS
from _report import markdown_table

from dqe_loss import REGIONS


def results_table(results: list[Result]) -> str:
    """One row per variant and weight: mean and standard deviation over seeds, and the difference to Dice alone.

    The difference is taken seed by seed (same initial weights, same planes), of Dice averaged over the regions.
    """
    alone = _by_seed(results, 0.0, "defaults")
    rows = [_row("Dice alone", "-", alone, alone)]
    for variant in VARIANTS:
        for weight in sorted({r["weight"] for r in results} - {0.0}):
            chosen = _by_seed(results, weight, variant)
            if chosen:
                rows.append(_row(variant, f"{weight:g}", chosen, alone))
    return markdown_table(rows)


def verdict(results: list[Result]) -> str:
    """Whether the defaults end no worse than Dice alone within the spread, weight by weight.

    The spread is the standard deviation of Dice alone over seeds.
    """
    alone = _by_seed(results, 0.0, "defaults")
    spread = _deviation([_mean_dice(r) for r in alone.values()])
    lines = []
    for weight in sorted({r["weight"] for r in results} - {0.0}):
        chosen = _by_seed(results, weight, "defaults")
        if chosen:
            difference = statistics.mean(_differences(chosen, alone))
            held = "no worse than Dice alone" if difference >= -spread else "WORSE than Dice alone"
            lines.append(f"- defaults, w = {weight:g}: {difference:+.3f} mean Dice, spread {spread:.3f}: {held}")
    return "\n".join(lines)


def _row(variant: str, weight: str, chosen: dict[int, Result], alone: dict[int, Result]) -> dict[str, str]:
    runs = list(chosen.values())
    row = {"loss": variant, "w": weight, "seeds": str(len(runs))}
    row |= {f"Dice {region}": _spread([r["dice"][i] for r in runs]) for i, region in enumerate(REGIONS)}
    row["mean Dice"] = _spread([_mean_dice(r) for r in runs])
    row["against Dice alone"] = "-" if chosen is alone else _spread(_differences(chosen, alone), sign="+")
    row["stars"] = _spread([r["stars"] for r in runs])
    for title, key in (("gradient ratio", "gradient_ratio"), ("kept by the guard", "guard_kept")):
        values = [r["log"][key] for r in runs if key in r["log"]]
        row[title] = f"{statistics.mean(values):.2f}" if values else "-"
    return row


def _by_seed(results: list[Result], weight: float, variant: str) -> dict[int, Result]:
    return {r["seed"]: r for r in results if (r["weight"], r["variant"]) == (weight, variant)}


def _differences(chosen: dict[int, Result], alone: dict[int, Result]) -> list[float]:
    return [_mean_dice(run) - _mean_dice(alone[seed]) for seed, run in chosen.items()]


def _mean_dice(run: Result) -> float:
    return float(statistics.mean(run["dice"]))


def _spread(values: list[float], sign: str = "") -> str:
    return f"{statistics.mean(values):{sign}.2f} ± {_deviation(values):.2f}"


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
