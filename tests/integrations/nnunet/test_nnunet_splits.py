"""Whether the split into folds is there, or can be made."""

import json

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split

from dqe_loss.integrations.nnunet.splits import FOLDS, check_split

CASES = list("abcdef")


@pytest.mark.parametrize(
    ("cases", "fold", "fits", "told"),
    [
        (CASES, "0", True, "nnU-Net will make 5 folds of 6 cases"),
        (CASES, "5", True, "there is no fold 5 among 5, so that nnU-Net draws 4 of 6 cases"),
        (CASES[:4], "0", False, 'such as [{"train": ["a", "b", "c"], "val": ["d"]}]'),
        (CASES[:1], "0", False, "1 cases are too few, and stops: train the fold all"),
        (CASES[:1], "all", True, "fold all: 1 cases"),
    ],
)
def test_without_a_file_nnunet_makes_five_folds(tmp_path, cases, fold, fits, told):
    found = check_split(tmp_path, cases, fold)
    assert found.fits == fits
    assert told in found.text
    if len(cases) < FOLDS:  # what is said of nnU-Net is true
        with pytest.raises(ValueError, match="n_splits=5"):
            generate_crossval_split(cases, n_splits=5)


@pytest.mark.parametrize(
    ("content", "fold", "fits", "told"),
    [
        ([{"train": CASES[:4], "val": CASES[4:]}], "0", True, "fold 0: 4 cases to train with, 2 to validate on"),
        ([{"train": ["a"], "val": ["a", "b"]}], "0", True, "; 4 that are preprocessed are in neither"),
        ([{"train": ["a"], "val": ["a", "b"]}], "0", True, "; 1 in both"),
        ([{"train": ["a"], "val": ["b"]}], "1", True, "there is no fold 1 among 1, so that nnU-Net draws 4 of 6 cases"),
        ([{"train": [*CASES, *"xyzw"], "val": ["a"]}], "0", False, "not preprocessed (w, x, y and 1 more)"),
        ([{"train": CASES, "val": []}], "0", False, "fold 0 has no case in 'val'"),
        ([{"training": CASES}], "0", False, "expected a list of folds with the keys train and val"),
        ({"train": CASES, "val": []}, "0", False, "expected a list of folds with the keys train and val"),
    ],
)
def test_a_file_is_held_against_what_is_preprocessed(tmp_path, content, fold, fits, told):
    (tmp_path / "splits_final.json").write_text(json.dumps(content))
    found = check_split(tmp_path, CASES, fold)
    assert found.fits == fits
    assert told in found.text
