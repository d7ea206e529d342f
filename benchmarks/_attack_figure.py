"""Pictures of attacks: curves of stars and Dice, and the rated planes of the worst case before and after."""

from pathlib import Path

import numpy as np
from _attack import DEFENSES, OF_REFINER, STARTS, Attack, has_target_guard
from _cells import Result
from matplotlib.figure import Figure

from dqe_loss import REGIONS, VIEWS
from dqe_loss.viz.hanging import draw_plane, hang, outline_handles

PALETTE = ("tab:red", "tab:orange", "tab:purple", "tab:green", "tab:cyan", "tab:brown", "tab:olive", "tab:blue")
COLORS = dict(zip(DEFENSES, PALETTE, strict=True))
TITLES = {"none": "no defense", "unclamped": "no defense, unclamped"}


def draw_curves(results: list[Result], path: Path) -> None:
    """Stars (top) and mean Dice in the rated planes (bottom) along the attacks on one exam, start by start."""
    starts = [start for start in STARTS if any(r["start"] == start for r in results)]
    figure = Figure(figsize=(3.4 * len(starts), 5.6), layout="constrained")
    axes = figure.subplots(2, len(starts), sharex="col", sharey="row", squeeze=False)
    for column, start in enumerate(starts):
        for result in (r for r in results if r["start"] == start):
            steps = [record["step"] for record in result["history"]]
            style = {"color": COLORS[result["defense"]], "label": result["defense"]}
            axes[0, column].plot(steps, [record["stars"] for record in result["history"]], **style)
            axes[1, column].plot(steps, [np.mean(record["planes"]) for record in result["history"]], **style)
        axes[0, column].axhline(6, color="gray", linewidth=0.8, linestyle=":")
        axes[0, column].set_title(f"from {start}")
        axes[1, column].set_xlabel("Adam steps on the logits")
        axes[1, column].set_ylim(0, 1.02)
    axes[0, 0].set_ylabel("stars (surrogate)")
    axes[1, 0].set_ylabel("Dice in the rated planes\n(mean of TC, WT, ET)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{results[0]['exam']}: the surrogate as the only loss")
    figure.savefig(path, dpi=130)


def draw_planes(attacks: list[tuple[Attack, Result]], path: Path) -> None:
    """Rated planes from the reference: before, after the worst undefended attack, after the guarded one.

    Without both of these attacks nothing is drawn.
    """
    from_reference = {a.defense: (a, r) for a, r in attacks if a.start == "reference" and a.planes}
    undefended = [
        pair for defense, pair in from_reference.items() if not (has_target_guard(defense) or defense in OF_REFINER)
    ]
    if not undefended or "guard" not in from_reference:
        return
    worst = min(undefended, key=lambda pair: float(np.mean(pair[1]["history"][-1]["planes"])))
    guarded = from_reference["guard"]
    rows = [
        ("the reference", "before", *worst),
        (f"{worst[1]['steps']} steps, {TITLES.get(worst[0].defense, worst[0].defense)}", "after", *worst),
        (f"{guarded[1]['steps']} steps, guard", "after", *guarded),
    ]
    figure = Figure(figsize=(7.2, 7.6), layout="constrained")
    axes = figure.subplots(len(rows), len(VIEWS), squeeze=False)
    for row, (title, when, attack, result) in enumerate(rows):
        record = result["history"][0 if when == "before" else -1]
        with np.load(attack.planes) as planes:  # type: ignore[arg-type]
            for column, view in enumerate(VIEWS):
                image, mask = planes[f"{when}_{view}_image"], planes[f"{when}_{view}_mask"]
                outlines = {name: hang(one.astype(float), view) for name, one in zip(REGIONS, mask, strict=True)}
                plane = hang(image[0].astype(float), view)
                draw_plane(axes[row, column], plane, (0, np.percentile(plane, 99.5) or 1), outlines, 0.6)
                axes[row, column].set_title(f"{view}: {record['views'][column]:.1f} stars", fontsize=9)
        dice = "/".join(f"{value:.2f}" for value in record["planes"])
        said = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 9, "transform": axes[row, 0].transAxes}
        axes[row, 0].text(-0.03, 0.5, f"{title}\nDice {dice}", **said)
    lines = outline_handles()
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=len(lines),
        frameon=False,
        title=f"{worst[1]['exam']}; mask at p > 0.5",
    )
    figure.savefig(path, dpi=130)
