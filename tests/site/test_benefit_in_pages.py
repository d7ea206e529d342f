"""What the page on the benefit study says of runs that are done in part."""

import sys
from itertools import combinations

import pytest
from pages import ROOT

ARMS = ("a", "ad", "d", "b")
MEASURES = ("dice", "surface_dice", "hd95", "lesion_dice", "second")


@pytest.fixture(scope="module")
def pages():
    sys.path.insert(0, str(ROOT / "docs" / "generate"))
    import benefit
    import benefit_gliomas
    import benefit_labels

    yield benefit, benefit_labels, benefit_gliomas
    sys.path.remove(str(ROOT / "docs" / "generate"))


def pair(setting, labelled, arms, difference, persons, measure="dice"):
    interval = [difference - 0.01, difference + 0.01]
    return {
        "setting": setting,
        "labelled": labelled,
        "arms": list(arms),
        "measure": measure,
        "difference": difference,
        "interval": interval,
        "seeds": 3,
        "persons": persons,
        "above": persons - 1 if difference > 0 else 1,
        "below": 1 if difference > 0 else persons - 1,
        "by_seed": [difference, difference, -difference],
    }


def arm(setting, labelled, name):
    row = {"setting": setting, "labelled": labelled, "arm": name, "what": name, "seeds": 3, "closed": 0.5}
    return row | dict.fromkeys(MEASURES, 0.5)


def part_of(places, rotations=(), persons=4):
    """Figures of a study that has run the arms of some places; the later of two arms is better by .02."""
    arms = [arm(*place, name) for place, names in places.items() for name in names]
    pairs = [pair(*place, two, -0.02, persons) for place, names in places.items() for two in combinations(names, 2)]
    named = [pair("gliomas", 3, two, 0.02, persons, m) for two in (("ad", "a"), ("d", "b")) for m in MEASURES]
    return {
        "arms": arms,
        "pairs": pairs,
        "readouts": named if rotations else [],
        "runs": [
            {"setting": row["setting"], "arm": row["arm"], "exams": [{"exam": "one", "dice": row["dice"]}]}
            for row in arms
            for _ in range(row["seeds"])
        ],
        "rotations": list(rotations),
        "planned": 36,
    }


def rotations(count):
    names = [f"rotation-{i + 1}" for i in range(3)]
    arms = (*ARMS, "h")
    places = {(name, 3): arms for name in names[:count]} | ({("gliomas", 3): arms} if count else {})
    plan = [{"setting": name, "labelled": 3, "arms": arms} for name in names]
    return part_of(places, names[:count], 4 * count) | {"plan": plan}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rotations_that_are_complete_are_told(pages, count):
    told = (
        pages[2].section(rotations(count), [pair("same", 3, ("d", "b"), 0.05, 38)], drawn=True).replace("\u00a0", " ")
    )
    assert told.startswith(f"{count} of 3 rotations {'is' if count == 1 else 'are'} complete")
    assert f"with {4 * count} tested exams" in told
    assert told.count("| d − b |") == 2
    assert "| ad − a | +0.020 (+0.010 to +0.030) |" in told
    assert f"| {4 * count - 1} of {4 * count} | 2 of 3 | – |" in told
    assert "+0.050" in told  # the hippocampi's
    assert ("rotation 1 |" in told) == (count > 1)
    assert ("rotation 3 |" in told) == (count == 3)
    assert "benefit_glioma.png" in told
    assert "benefit_glioma.png" not in pages[2].section(rotations(count), [], drawn=False)


def test_before_a_rotation_is_complete_nothing_is_told_of_gliomas(pages):
    assert "not done yet" in pages[2].section(None, [], drawn=False)
    told = pages[2].section(rotations(0), [], drawn=True)
    assert "no rotation is complete" in told
    assert "|" not in told


def test_numbers_of_labelled_persons_are_told_once_labelled_planes_alone_have_run(pages):
    plan = [{"setting": "same", "labelled": count, "arms": ARMS} for count in (3, 6, 12)]

    def labels(places):
        stored = part_of({("same", count): arms for count, arms in places.items()}) | {"plan": plan}
        return pages[1].labels(stored).replace("\u00a0", " "), pages[0]._done(stored)

    told, done = labels({3: ARMS, 6: ("ad",)})
    assert told.startswith("There are no curves yet: with 6 and 12 ")
    assert "*same*, 3: 4 of 4; *same*, 6: 1 of 4 (ad); *same*, 12: 0 of 4" in done
    told, _ = labels({3: ARMS, 6: ("a", "ad"), 12: ("ad",)})
    assert told.startswith("With 12 labelled persons arm a is not complete yet. What was asked")
    assert "is +0.020 (+0.010 to +0.030) with 6 labelled persons." in told
    assert "12 labelled |" not in told
    assert "| d − a | +0.020 (+0.010 to +0.030) | – |" in told
    told, done = labels(dict.fromkeys((3, 6, 12), ARMS))
    assert "with 6 and +0.020 (+0.010 to +0.030) with 12 labelled persons." in told
    assert "not complete" not in told
    assert done == "all 36 runs are done"
