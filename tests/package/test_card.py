"""The card of the shipped checkpoint and NOTICE say the same, and what is stored."""

import importlib
import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from dqe_loss.harden.card import NOT_TOLD
from dqe_loss.surrogate.checkpoint import BRAINLESION

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "dqe_loss" / "surrogate" / "weights" / "hardened.safetensors"


def one_line(path):
    return " ".join(path.read_text(encoding="utf-8").split())


def section(title):
    """A paragraph of the card, in one line."""
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    [found] = [part for part in card.split("\n\n") if part.startswith(f"**{title}.**")]
    return " ".join(found.removeprefix(f"**{title}.**").split())


@pytest.fixture(scope="module")
def names():
    return section("Real exams").rstrip(".").split(", ")


def test_the_file_carries_its_card():
    with safe_open(WEIGHTS, framework="pt") as file:
        assert file.metadata()["model_card"] == WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")


def test_card_and_notice_say_the_same(names):
    notice, sources = one_line(ROOT / "NOTICE"), section("Sources of the exams")
    assert f"the scans and masks of {len(names)} exams of" in notice
    assert f"{len(names)} real and " in section("What the refiner learned from")
    assert f"{WEIGHTS.relative_to(ROOT).with_suffix('.md')})." in notice
    for text in (notice, sources):
        assert "none of which gives its exams a clear data licence" in text
        assert "exams themselves are no part of" in text
    address = re.search(r"https://\S+?(?=[,)])", BRAINLESION.notice)[0]
    for text in (notice, section("Notice")):
        assert f"{address}, copyright its authors, Apache License 2.0" in text


def test_the_card_says_where_each_exam_comes_from(names):
    told = re.findall(r"those of (\w+)|\(([\w-]+)\)", section("Sources of the exams"))
    told = [group or exam for group, exam in told]
    assert [sum(name.startswith(one) for one in told) for name in names] == [1] * len(names)
    assert [one for one in told if not any(name.startswith(one) for name in names)] == []


def test_the_card_names_the_exams_in_which_it_fails(names):
    stored = json.loads((ROOT / "benchmarks/results/hardening/hardening.json").read_text())
    judged = {row["exam"]: row["published"] - row["thorough"] for row in stored["exams"]}
    failed = {exam for exam in names if abs(judged[exam]) > 0.5}
    assert set(re.findall(r"BraTS\w+", section("Where it fails"))) == failed


def test_shipping_fills_in_what_a_hardening_does_not_know(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    ship = importlib.import_module("_hardening_ship")
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    assert ship.tell(card.replace(ship.TOLD, NOT_TOLD)) == card
    with pytest.raises(ValueError, match="got one that does not"):
        ship.tell(card)
