"""Stamps of files: what has changed is told, however large the file and however old the study."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studies import begin, write_data

from dqe_loss.collect.begin import go_on
from dqe_loss.collect.stamps import content_of
from dqe_loss.collect.study import StudyDesign
from dqe_loss.collect.study_file import read_study, write_study


def other_bytes(path, at):
    """Change one byte, and not the size."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("size", [0, 10, 70_000, 2_000_000])
def test_stamps_of_files_of_all_sizes(tmp_path, size):
    path = tmp_path / "scan"
    path.write_bytes(np.random.default_rng(0).bytes(size))
    seen = {content_of(path)}
    path.write_bytes(path.read_bytes() + b"x")
    seen.add(content_of(path))
    for at in (0, size // 2, size) if size < 1 << 20 else (0, 348, size - 4, size):
        other_bytes(path, at)
        seen.add(content_of(path))
    assert len(seen) == len({0, size // 2, size}) + 2 + (size > 1 << 20)


def test_an_image_of_the_same_size_is_another(tmp_path):
    data, folder = write_data(tmp_path / "data", 1, ("seg-a",)), tmp_path / "ratings"
    study = begin(folder, data)
    image = next(path for path in (data / "hospital-0").iterdir() if "seg" not in path.name)
    other_bytes(image, image.stat().st_size // 2)
    with pytest.raises(ValueError, match="or an image of exam hospital-0, is not as it was"):
        go_on(read_study(folder), folder, StudyDesign(), [], [], False)
    other_bytes(image, image.stat().st_size // 2)
    assert go_on(read_study(folder), folder, StudyDesign(), [], [], False) == (study, 0)


def test_an_earlier_study_goes_on_and_is_extended(tmp_path):
    """Its stamps know the sizes of images alone."""
    data, folder = write_data(tmp_path / "data", 2, ("seg-a",)), tmp_path / "ratings"
    both = begin(folder, data, repeats=0.0)
    old = replace(both.cases[0], stamp=both.cases[0].stamp_now("earlier"))
    assert len(old.stamp) == 16
    write_study(replace(both, cases=(old,), batches=(1,)), folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("format: 2", "format: 1"))
    longer, _ = go_on(read_study(folder), folder, StudyDesign(), both.cases, [], True)
    assert longer.cases == (old, both.cases[1])
    write_study(longer, folder)
    mask = Path(both.cases[0].mask)
    mask.write_bytes(Path(both.cases[1].mask).read_bytes())
    changed = [replace(both.cases[0], stamp=both.cases[0].stamp_now()), both.cases[1]]
    with pytest.raises(ValueError, match="is not as it was"):
        go_on(read_study(folder), folder, StudyDesign(), [], [], False)
    with pytest.raises(ValueError, match="the study has another segmentation seg-a of exam hospital-0"):
        longer.extended(changed, [])
