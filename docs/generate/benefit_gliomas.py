"""The glioma part of the benefit study: the section that stands in the page, however many rotations are complete."""

from statistics import mean
from typing import Any

from benefit_pairs import arms_table, excluding_zero, find, key, over, readouts, with_interval
from stored import RESULTS, ROOT, Figures, load, number, percent, table

PICTURE = "benefit_glioma.png"
LABELLED, TOGETHER = 3, "gliomas"
"""Labelled persons, and the setting of all complete rotations together."""
MEASURES = {
    "dice": ("Dice", 3),
    "surface_dice": ("surface Dice at 1 mm", 3),
    "hd95": ("HD95, mm", 2),
    "lesion_dice": ("lesion-wise Dice", 3),
    "second": ("second judge's stars", 2),
}
NAMED = (("ad", "a"), ("d", "b"))
"""Differences that were named before the first run."""
BESIDE = """In mean Dice, with the rotations one by one where there are several, and beside them the hippocampi
(*same*, 3 labelled persons):"""
WITHOUT_A_REGION = ("BraTS2021_01477", "BraTS2021_01484")
"""Exams whose reference holds no enhancing tumor."""
CAVEATS = """The exams that taught the refiner and those that are tested are different ones of the same sources: of a
new source nothing is said. Intervals are over exams and seeds. The labelled exams and the refiner of a rotation are the
same for all of its seeds: their luck is in no interval. Where an exam's reference has no enhancing tumor, the Dice of
that region is 1 if the network finds none either, and else 0; one column leaves such exams out.
The second judge, the published network, rates on another scale than the refiner, so that no hacking gap is told."""


def benefit_gliomas() -> Figures:
    """The section as a whole, and what other pages tell of it."""
    stored = load("benefit_glioma.json") if (RESULTS / "benefit_glioma.json").is_file() else None
    figures = {"section": section(stored, load("benefit.json")["pairs"], (ROOT / "docs" / PICTURE).is_file())}
    return figures if stored is None or not stored["rotations"] else figures | _told(stored)


def benefit_gliomas_head() -> Figures:
    """What is left of the differences where nothing counts that lies outside of the head."""
    stored = load("benefit_glioma_head.json")
    outside: dict[str, list[float]] = {}
    for run in stored["runs"]:
        outside.setdefault(run["arm"], []).extend(row["outside"] for row in run["exams"])
    rows = []
    for pair in dict.fromkeys((*NAMED, *((arm, "a") for arm in outside if arm != "a"))):
        row = find(stored["pairs"], TOGETHER, LABELLED, *pair)
        assert row is not None  # every arm was cut
        rows.append([" − ".join(pair), with_interval(row), f"{row['above']} of {row['persons']}"])
    told = {f"{arm}_over_a": find(stored["pairs"], TOGETHER, LABELLED, arm, "a") for arm in ("ad", "d")}
    return {
        "table": table(["arms", "Dice inside the head", "exams above 0"], rows),
        "outside": table(["arm", *outside], [["outside", *(percent(mean(one)) for one in outside.values())]]),
        **{name: with_interval(row) for name, row in told.items() if row is not None},
    }


def _told(stored: dict[str, Any]) -> Figures:
    """Differences and means in sentences."""
    arms = {"added_over_a": "ad", "over_a": "d", "taught_over_a": "t", "opinion_over_a": "r"}
    rows = {name: find(stored["pairs"], TOGETHER, LABELLED, arm, "a") for name, arm in arms.items()}
    rotations, planned = stored["rotations"], {place["setting"] for place in stored["plan"]}
    return {
        **{name: with_interval(row) for name, row in rows.items() if row is not None},
        "rotations": f"{len(rotations)} of {len(planned)}",
        "exams": str(next(row["persons"] for row in rows.values() if row is not None)),
        "dice_a": number(_dice(stored, "a"), 2),
    }


def _dice(stored: dict[str, Any], arm: str) -> float:
    found: float = next(row["dice"] for row in stored["arms"] if (row["setting"], row["arm"]) == (TOGETHER, arm))
    return found


def section(stored: dict[str, Any] | None, hippocampi: list[dict[str, Any]], drawn: bool) -> str:
    """What is known of the gliomas.

    Args:
        stored: their figures; None before there are any.
        hippocampi: pairs of the hippocampi, beside which the gliomas' are told.
        drawn: whether there is a picture.
    """
    if stored is None:
        return "The gliomas' runs are not done yet:\nnothing is told of them."
    rotations, planned = stored["rotations"], len({place["setting"] for place in stored["plan"]})
    done = f"{len(stored['runs'])} of {stored['planned']} runs are done"
    if not rotations:
        return f"So far {done}, and no rotation is complete:\nnothing is told of the gliomas yet."
    together = [row for row in stored["pairs"] if row["setting"] == TOGETHER]
    which = "" if len(rotations) == planned else f" ({' and '.join(map(_title, rotations))})"
    count = f"{len(rotations)} of {planned} rotations {'is' if len(rotations) == 1 else 'are'} complete{which}"
    blocks = [
        f"{count}, with {together[0]['persons']} tested exams; {done}. A rotation counts once all of its arms have run"
        f" with all {together[0]['seeds']} seeds.",
        "Named before the first run:",
        _named(stored["readouts"]),
        _reading(stored),
        BESIDE,
        _differences(stored, hippocampi, rotations),
        _explored(together),
        CAVEATS,
        _picture(rotations) if drawn else "",
        arms_table(
            [{**row, "hacking_gap": None} for row in stored["arms"] if row["setting"] == TOGETHER],
            _by_rotation(stored["arms"], rotations),
        ),
    ]
    return "\n\n".join(filter(None, blocks))


def _named(rows: list[dict[str, Any]]) -> str:
    body = [[f"{one} − {other}", *cells] for (_, _, one, other), cells in readouts(rows, MEASURES).items()]
    return table(["arms", *(name for name, _ in MEASURES.values())], body)


def _reading(stored: dict[str, Any]) -> str:
    """What has to be known beside the named differences."""
    row = find(stored["pairs"], TOGETHER, LABELLED, "b", "a")
    assert row is not None  # a complete rotation has all arms
    labelled, all_labels = (number(_dice(stored, arm), 2) for arm in ("a", "h"))
    return (
        f"These networks are far from trained out: a has a mean Dice of {labelled}, and h, which has all labels,"
        f" {all_labels}. b − a is {with_interval(row)}: the weight of pseudo-labels was chosen on hippocampi. As far as"
        " they do harm here, d − b tells of b and not of d. d − a stands below."
    )


def _differences(stored: dict[str, Any], hippocampi: list[dict[str, Any]], rotations: list[str]) -> str:
    """The named differences, then every other arm's from a: with their signs by rotation, exam and seed."""
    pairs = stored["pairs"]
    arms = [over(row, "a")[0] for row in pairs if row["setting"] == TOGETHER and "a" in row["arms"]]
    single = rotations if len(rotations) > 1 else []
    body = []
    for pair in dict.fromkeys((*NAMED, *((arm, "a") for arm in arms))):
        row = find(pairs, TOGETHER, LABELLED, *pair)
        assert row is not None  # a complete rotation has all arms
        apart = [find(pairs, rotation, LABELLED, *pair) for rotation in single]
        other = find(hippocampi, "same", LABELLED, *pair)
        body.append(
            [
                " − ".join(pair),
                with_interval(row),
                *("–" if one is None else number(one["difference"], 3, sign=True) for one in apart),
                number(_without(stored["runs"], rotations, *pair), 3, sign=True),
                f"{row['above']} of {row['persons']}",
                f"{sum(value > 0 for value in row['by_seed'])} of {row['seeds']}",
                "–" if other is None else with_interval(other),
            ]
        )
    header = ["arms", "Dice", *(_title(rotation) for rotation in single), "of exams with all regions"]
    header += ["exams above 0", "seeds above 0"]
    return table([*header, "hippocampi"], body)


def _without(runs: list[dict[str, Any]], rotations: list[str], arm: str, base: str) -> float:
    """Mean difference in Dice of two arms, of exams whose reference holds every region."""
    dice: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run["setting"] in rotations and run["arm"] in (arm, base):
            for row in run["exams"]:
                if row["exam"] not in WITHOUT_A_REGION:
                    dice.setdefault(row["exam"], {}).setdefault(run["arm"], []).append(row["dice"])
    return mean(mean(arms[arm]) - mean(arms[base]) for arms in dice.values())


def _explored(together: list[dict[str, Any]]) -> str:
    named = {(TOGETHER, LABELLED, *sorted(pair)) for pair in NAMED}
    others = [row for row in together if key(row) not in named]
    clear = excluding_zero(others)
    return f"Pairs that were not named: {len(others)}. Of these, intervals in Dice that exclude 0: {clear}."


def _by_rotation(arms: list[dict[str, Any]], rotations: list[str]) -> dict[str, dict[str, str]]:
    """Title of each rotation to arm to mean Dice, where there are several."""
    if len(rotations) < 2:
        return {}
    return {
        _title(rotation): {row["arm"]: number(row["dice"], 3) for row in arms if row["setting"] == rotation}
        for rotation in rotations
    }


def _title(rotation: str) -> str:
    return rotation.replace("-", "\u00a0")


def _picture(rotations: list[str]) -> str:
    small = "; small numbers are the rotations" if len(rotations) > 1 else ""
    return (
        f"![Mean Dice of each arm less that of labelled planes alone, gliomas](../{PICTURE})\n\n"
        f"*Mean differences from a, with their 95 % intervals{small}.*"
    )
