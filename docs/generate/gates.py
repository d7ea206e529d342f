"""What other gates would give: chosen without the exams that judge them, and with the reference as the refiner."""

import math

from stored import Figures, load, number

_R = "r of stars and mean Dice (expert, corruptions, natural)"
_SPEARMAN = "Spearman within an exam, median"
_NATURAL = "natural masks, r with mean Dice"
_AUC = "ROC AUC for a mean Dice below .7"
_ABSURD = "absurd masks, least distance below the expert's"
_FAR = "expert masks more than .5 star from the published stars, share"


def gates() -> Figures:
    """Gates that were compared on the stored agreements of all exams."""
    stored = load("hardening/hardening.json")
    grid = {name: [row for row in rows if row["judged"] == "all"] for name, rows in stored["tuning"].items()}
    [unseen] = [row for row in stored["tuning"]["thorough"] if row["judged"].startswith("all (")]
    oracle = {row["measure"]: row["beside"]["oracle"] for row in stored["figures"] if "oracle" in row["beside"]}

    def best(measure: str) -> float:
        return max((row[measure] for row in grid["oracle"]), default=math.nan)

    return {
        "compared": str(len(grid["thorough"])),
        "unseen_r": number(unseen[_R]),
        "unseen_spearman": number(unseen[_SPEARMAN]),
        "unseen_auc": number(unseen[_AUC]),
        "unseen_far": number(unseen[_FAR]),
        "oracle_r": number(oracle[_R]),
        "oracle_natural": number(oracle[_NATURAL]),
        "oracle_spearman": number(oracle[_SPEARMAN]),
        "oracle_auc": number(oracle[_AUC], 3),
        "oracle_absurd": number(oracle[_ABSURD]),
        "oracle_r_best": number(best(_R)),
        "oracle_natural_best": number(best(_NATURAL)),
    }
