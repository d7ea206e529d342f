"""Which file of an exam is its reference: one rule, the same in every command."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers import make_image, make_labels, tiny_surrogate

from dqe_loss.audit import command as audit
from dqe_loss.data.exam_files import choose_reference, match_reference
from dqe_loss.evaluate import command as evaluate
from dqe_loss.evaluate.referenced_exams import find_all_segmentations
from dqe_loss.harden import sources as hardening
from dqe_loss.harden.config import HardenConfig
from dqe_loss.rate import command as rate
from dqe_loss.simulate import command as simulate
from dqe_loss.task import GLIOMA

ROOT = Path(__file__).parents[2]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
BRATS = "BraTS-GLI-00000-000"
NAMES = [f"{BRATS}-seg", "seg-expert", "seg-unet", "failed/seg-unet", "failed/myseg"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (f"{BRATS}-seg", [0]),
        (f"{BRATS}-seg.nii.gz", [0]),
        (f"{BRATS}-SEG.nii", [0]),
        ("seg", [0]),  # an end at a boundary: myseg does not end in it
        ("-seg", [0]),
        ("000-seg", [0]),
        ("00-seg", []),
        ("myseg", [4]),
        ("expert", [1]),
        ("seg-unet", [2]),  # the whole name comes before the end of failed/seg-unet
        ("failed/seg-unet", [3]),
        ("unet", [2, 3]),
        ("*-seg", [0]),
        ("BraTS-*-000-???.nii.gz", [0]),
        ("failed/*", [3, 4]),
        ("seg-*", [1, 2, 3]),
        ("*nothing*", []),
        ("", []),
        (".nii.gz", []),
    ],
)
def test_the_whole_name_before_its_end_before_a_pattern(wanted, found):
    assert match_reference(NAMES, [wanted]) == [NAMES[i] for i in found]


def test_each_listed_file_can_be_named():
    names = ["seg", "a-seg", "a_seg", "b/seg", "b/a-seg", "seg[1]", "seg 2"]
    assert [match_reference(names, [name]) for name in names] == [[name] for name in names]
    # Of several wanted names a whole one comes before the others' ends, and two whole ones are two.
    assert match_reference(["a-seg", "expert"], ["seg", "expert"]) == ["expert"]
    assert match_reference(names, ["nowhere", "a_seg", "seg"]) == ["seg", "a_seg"]
    assert match_reference(["seg", "b/a-seg"], ["seg", "a-seg"]) == ["seg", "b/a-seg"]


def test_candidates_are_told(tmp_path):
    files = [tmp_path / f"{name}.nii.gz" for name in NAMES]
    assert choose_reference(tmp_path, files, ["x", "seg"]) == files[0]
    with pytest.raises(ValueError, match=r"--reference unet fits seg-unet, failed/seg-unet, .* give more of the name"):
        choose_reference(tmp_path, files, ["unet"])
    with pytest.raises(ValueError, match=r"--reference x or y fits none of BraTS-GLI-00000-000-seg, seg-expert, .*"):
        choose_reference(tmp_path, files, ["x", "y"])
    with pytest.raises(ValueError, match="--reference x fits none, for the exam has no segmentation"):
        choose_reference(tmp_path, [], ["x"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two tiny exams with the names of BraTS 2023, and another mask in each."""
    root = tmp_path_factory.mktemp("brats")
    folders = [root / f"BraTS-GLI-0000{i}-000" for i in range(2)]
    for i, folder in enumerate(folders):
        folder.mkdir()
        labels = make_labels(center=(0.1, -0.1 + 0.3 * i, 0.05))
        images = dict(zip(("t1c", "t1n", "t2w", "t2f"), make_image(seed=i).astype(np.int16), strict=True))
        for token, array in (images | {"seg": labels, "seg-unet": np.roll(labels, 3, 0)}).items():
            nib.save(nib.Nifti1Image(array, LPS), folder / f"{folder.name}-{token}.nii.gz")
    return folders


REFERENCES = pytest.mark.parametrize("name", ["seg", "BraTS-GLI-*-seg.nii.gz"])


@REFERENCES
def test_evaluate(folders, checkpoint, tmp_path, name):
    given = ["--exams", *map(str, folders), "--reference", name, "--out", str(tmp_path / "out"), "--resamples", "5"]
    assert evaluate.main([str(checkpoint), *given]) == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["segmentation"].tolist() == [f"{folder.name}-seg-unet" for folder in folders]


@REFERENCES
def test_audit(folders, monkeypatch, tmp_path, name):
    monkeypatch.setattr(audit, "load_surrogate", lambda checkpoint: tiny_surrogate())
    given = ["--exams", *map(str, folders), "--reference", name, "--parts", "soft"]
    assert audit.main(["tiny", "--out", str(tmp_path), *given]) == 0
    content = json.loads((tmp_path / "audit.json").read_text())
    assert [exam["reference"] for exam in content["exams"]] == [f"{exam.name}-seg.nii.gz" for exam in folders]


@REFERENCES
def test_harden(folders, tmp_path, name):
    """The reference is no mask of the stock, though a mask in a folder below ends as it does."""
    folder = shutil.copytree(folders[0], tmp_path / folders[0].name)
    (folder / "failed").mkdir()
    shutil.copy(folder / f"{folder.name}-seg-unet.nii.gz", folder / "failed" / "BraTS-GLI-9-seg.nii.gz")
    config = HardenConfig(exams=(folder,), reference=(name,), out=tmp_path / "run")
    (source, *_), _ = hardening.find_taught(config, GLIOMA)
    assert source.paths.segmentations == (folder / f"{folder.name}-seg.nii.gz",)
    truth = make_labels(center=(0.1, -0.1, 0.05))
    stock = hardening._natural(source, GLIOMA.scheme())
    assert len(stock) == 2
    assert not any(np.array_equal(labels, truth) for labels in stock)


@REFERENCES
def test_simulate(folders, tmp_path, name):
    given = ["--exams", *map(str, folders), "--reference", name, "--segmentations", "2", "--raters", "1"]
    assert simulate.main(["--out", str(tmp_path / "out"), *given]) == 0


@REFERENCES
def test_explanation(folders, checkpoint, tmp_path, name):
    given = ["--exam", str(folders[0]), "--explain", str(tmp_path / "why.json"), "--reference", name]
    assert rate.main(["--checkpoint", str(checkpoint), *given]) == 0
    content = json.loads((tmp_path / "why.json").read_text())
    assert content["reference"] == f"{folders[0].name}-seg"
    assert list(content["saliency"]) == [f"{folders[0].name}-seg-unet"]


@REFERENCES
def test_example(folders, monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "segmentation_exams", raising=False)
    exams = importlib.import_module("segmentation_exams")
    monkeypatch.setattr(exams, "prepare", lambda exam, scheme, device: next(iter(exam.segmentations)))
    parts = exams.read_parts(folders, [], [], name, "brats", "cpu")
    assert parts.labelled == [f"{exam.name}-seg" for exam in folders]


@REFERENCES
def test_benchmarks(folders, monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "_references", raising=False)
    references = importlib.import_module("_references")
    found = references.load_reference_exam(str(folders[0]), (name,))
    assert int(found.regions[0, 1].sum()) == int((make_labels(center=(0.1, -0.1, 0.05)) > 0).sum())
    names = ["seg-expert", "BraTS-seg", "failed-expert"]
    assert (
        references.find_reference("exam", names, ("nowhere", "seg-expert", "seg")) == "seg-expert"
    )  # the first it has
    with pytest.raises(ValueError, match="--reference expert fits seg-expert, failed-expert"):
        references.find_reference("exam", names, ("expert",))


@pytest.mark.exams
def test_real_exams(exams):
    """Of the exams that have several masks, below their folder, too."""
    for exam, name in {"BraTS19_CBICA_AAB_1": "expert", "TCGA-FG-6692": "*fusion*", "BraTS-GLI-00001-000": "1"}.items():
        found = find_all_segmentations(exams / exam, [name], GLIOMA)
        assert found.names[0] in ("seg-expert", "seg-fusion_mav", "seg-BraTS23_1")
        assert len(found.names) > 3
