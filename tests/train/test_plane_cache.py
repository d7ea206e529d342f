"""The plane cache: the planes that a rating sees, found again, and never those of other content."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import small_surrogate
from rated import LPS, write_rated_exams

from dqe_loss import VIEWS
from dqe_loss.core.planes import join_planes
from dqe_loss.data.nifti import ExamError
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.train.plane_cache import PlaneCache, fill_cache, read_planes


@pytest.fixture
def table(tmp_path):
    return read_ratings([write_rated_exams(tmp_path / "exams", exams=2)])


def test_cached_planes_rate_as_the_command_does(table, tmp_path):
    from dqe_loss.data.exams import read_exam

    surrogate = small_surrogate()
    cache = PlaneCache(tmp_path / "planes", surrogate.config)
    entries = fill_cache(cache, table, progress=False)
    assert len(entries) == 4
    expected = rate_exam(read_exam(tmp_path / "exams" / "exam-1"), surrogate)
    for name in ("good", "bad"):
        entry = entries[str(tmp_path / "exams" / "exam-1" / f"seg-{name}.nii.gz")]
        for view in VIEWS:
            scans, regions = read_planes(entry, view)
            assert (scans.dtype, regions.dtype) == (torch.float32, torch.bool)
            stars = surrogate(join_planes(surrogate.config, scans, regions)[None])
            assert stars.item() == pytest.approx(expected[f"seg-{name}"][view], abs=1e-5)


def test_filled_cache_reads_no_exam(table, tmp_path, monkeypatch):
    cache = PlaneCache(tmp_path / "planes", small_surrogate().config)
    entries = fill_cache(cache, table, progress=False)
    monkeypatch.setattr("dqe_loss.train.plane_cache.read_exam", lambda *_, **__: pytest.fail("read an exam again"))
    assert fill_cache(cache, table, progress=False) == entries


@pytest.mark.parametrize(
    "changed", [{"normalization": "minmax"}, {"percentiles": (1.0, 99.0)}, {"field_of_view": (40, 40)}]
)
def test_another_recipe_is_another_entry(table, tmp_path, changed):
    config = small_surrogate().config
    first = fill_cache(PlaneCache(tmp_path / "planes", config), table, progress=False)
    second = fill_cache(PlaneCache(tmp_path / "planes", replace(config, **changed)), table, progress=False)
    assert not set(first.values()) & set(second.values())


def test_architecture_and_encoding_share_entries(table, tmp_path):
    config = small_surrogate().config
    other = replace(config, architecture="resnet18", encoding="tissue", head="ordinal")
    first = fill_cache(PlaneCache(tmp_path / "planes", config), table, progress=False)
    assert fill_cache(PlaneCache(tmp_path / "planes", other), table, progress=False) == first


def test_changed_content_is_seen(table, tmp_path):
    cache = PlaneCache(tmp_path / "planes", small_surrogate().config)
    before = fill_cache(cache, table, progress=False)
    path = tmp_path / "exams" / "exam-0" / "seg-good.nii.gz"
    labels = np.asarray(nib.load(path).dataobj)
    nib.Nifti1Image(np.flip(labels, 0).copy(), LPS).to_filename(path)
    after = fill_cache(cache, table, progress=False)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [str(path)]
    assert not torch.equal(read_planes(before[str(path)], "axial")[1], read_planes(after[str(path)], "axial")[1])


def test_entry_that_was_cut_short_is_made_anew(table, tmp_path):
    cache = PlaneCache(tmp_path / "planes", small_surrogate().config)
    entry = next(iter(fill_cache(cache, table, progress=False).values()))
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="a cached plane is gone or damaged"):
        read_planes(entry, "axial")
    fill_cache(cache, table, progress=False)
    assert entry.read_bytes() == whole


def test_damaged_exam_is_named_and_loses_nothing(table, tmp_path):
    damaged = tmp_path / "exams" / "exam-1" / "t2.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    cache = PlaneCache(tmp_path / "planes", small_surrogate().config)
    with pytest.raises(ExamError, match=r"exam-1/t2\.nii\.gz: expected a whole gzip file"):
        fill_cache(cache, table, progress=False)
    assert len(list((tmp_path / "planes").glob("*.safetensors"))) == 2
