import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import SHAPE, make_image, make_labels

pytest.importorskip("pandas")
pytest.importorskip("pandera")

from dqe_loss import regions_from_labels
from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import PHANTOMS
from dqe_loss.data.tables.ratings import mean_ratings, read_ratings
from dqe_loss.metrics.metric_stars import metric_stars_of_views
from dqe_loss.simulate import command as simulate
from dqe_loss.simulate import simulate_exam
from dqe_loss.task import GLIOMA

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CENTERS = {"a": (0.1, -0.1, 0.05), "b": (-0.2, 0.1, 0.0), "c": (0.0, 0.2, -0.1)}


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """Three tiny exams with a reference."""
    root = tmp_path_factory.mktemp("exams")
    for seed, (name, center) in enumerate(CENTERS.items()):
        (root / name).mkdir()
        images = dict(zip(("t1c", "t1n", "t2w", "t2f"), make_image(seed=seed).astype(np.int16), strict=True))
        for token, array in (images | {"seg": make_labels(SHAPE, center)}).items():
            nib.save(nib.Nifti1Image(array, LPS), root / name / f"{name}-{token}.nii.gz")
    return [root / name for name in CENTERS]


@pytest.fixture
def run(exams, tmp_path, capsys):
    """Run the command in this process on the tiny exams; returns exit code, output, errors, folder."""

    def run(*arguments, exams=exams, out=tmp_path / "out", reference="seg"):
        given = ["--exams", *map(str, exams), "--reference", reference] if exams else []
        code = simulate.main(["--out", str(out), *given, *map(str, arguments)])
        return code, *capsys.readouterr(), out

    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_end_to_end(run, exams):
    code, output, _, out = run("--segmentations", 4, "--raters", 2)
    assert code == 0
    assert "ratings.csv: 72 simulated ratings of 12 segmentations of 3 exams, by 2 simulated raters" in output
    table = read_ratings([out / "ratings.csv"])
    assert len(table) == 3 * 4 * 2 * 3
    assert set(table["kind"]) == {"simulated"}
    assert set(table["rater"]) == {"simulated-1", "simulated-2"}
    assert set(table["view"]) == set(VIEWS)
    assert set(table["stars"]) <= {1, 2, 3, 4, 5, 6}
    assert len(mean_ratings(table)) == 36
    assert {Path(path).parent for path in table["t1c"]} == set(exams)  # the images stay where they are
    for exam, rows in table.groupby("exam"):
        reference = make_labels(SHAPE, CENTERS[exam])
        for path, judged in rows.groupby("segmentation"):
            mask = nib.load(path)
            assert mask.get_data_dtype() == np.uint8
            assert np.array_equal(mask.affine, LPS)
            array = np.asarray(mask.dataobj)
            pair = [regions_from_labels(torch.from_numpy(x)[None, None]) for x in (array, reference)]
            stars = dict(zip(VIEWS, metric_stars_of_views(*pair)[0].tolist(), strict=True))
            for row in judged.itertuples():
                assert float(row.metric_stars) == pytest.approx(stars[row.view], abs=1e-4)
            assert (set(judged["corruption"]) == {"none"}) == np.array_equal(array, reference)


def test_paths_are_relative_and_the_folder_may_move(run, exams, tmp_path):
    *_, out = run("--segmentations", 2, "--raters", 1)
    text = (out / "ratings.csv").read_text()
    assert str(tmp_path) not in text
    assert "segmentations/a/a-seg-reference.nii.gz" in text


def test_exams_can_be_read_like_any_others(run, exams):
    *_, out = run("--segmentations", 3, "--raters", 1)
    paths = replace(find_exam(exams[0]), segmentations=tuple(simulate_exam.segmentation_paths("a", 3, out)))
    assert list(read_exam(paths).segmentations) == ["a-seg-reference", "a-seg-1", "a-seg-2"]


@pytest.mark.slow
def test_nothing_depends_on_order_or_workers(run, exams, tmp_path):
    *_, first = run("--segmentations", 3)
    code, _, errors, second = run("--segmentations", 3, "--workers", 2, exams=exams[::-1], out=tmp_path / "second")
    assert code == 0, errors
    assert contents(first) == contents(second)


@pytest.mark.slow
def test_seeds_differ_and_more_raters_change_no_mask(run, tmp_path):
    *_, one = run("--raters", 1)
    *_, three = run("--raters", 3, out=tmp_path / "three")
    *_, other = run("--raters", 1, "--seed", 1, out=tmp_path / "other")
    masks = [
        {path: data for path, data in contents(out).items() if path.suffix == ".gz"} for out in (one, three, other)
    ]
    assert masks[0] == masks[1]
    assert masks[0] != masks[2]
    few, many = (read_ratings([out / "ratings.csv"]) for out in (one, three))
    assert few["stars"].tolist() == many.loc[many["rater"] == "simulated-1", "stars"].tolist()


def test_a_second_run_continues(run, monkeypatch):
    *_, out = run("--segmentations", 3)
    before = contents(out)
    (out / "segmentations" / "b" / "b-seg-2.nii.gz").unlink()
    (out / "parts" / "c.csv").unlink()
    (out / "ratings.csv").unlink()
    read = []

    def reading(paths, **options):
        read.append(paths.name)
        return read_exam(paths, **options)

    monkeypatch.setattr(simulate_exam, "read_exam", reading)
    assert run("--segmentations", 3)[0] == 0
    assert read == ["b", "c"]
    assert contents(out) == before


def test_a_failed_run_leaves_what_is_done_and_continues(run, exams, tmp_path, monkeypatch):
    copies = [shutil.copytree(exam, tmp_path / exam.name) for exam in exams]
    damaged = copies[1] / "b-t1c.nii.gz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    code, _, errors, out = run("--segmentations", 2, exams=copies)
    assert code == 2
    assert f"{damaged}: expected a whole gzip file" in errors
    assert (out / "parts" / "a.csv").is_file()
    assert not (out / "ratings.csv").exists()
    damaged.write_bytes(whole)
    assert run("--segmentations", 2, exams=copies)[0] == 0
    assert not list(out.rglob("*.part"))


def test_full_disk_is_one_line(run, monkeypatch):
    opened = Path.open

    def full(self, mode="r", *arguments, **options):
        if "w" in mode:
            raise OSError(28, "No space left on device", str(self))
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    code, _, errors, out = run()
    assert code == 2
    assert errors.startswith("dqe simulate: error: ")
    assert "No space left on device" in errors
    monkeypatch.setattr(Path, "open", opened)
    assert run()[0] == 0
    assert (out / "ratings.csv").is_file()


@pytest.mark.parametrize(
    ("scheme", "labels"), [("msd", {0, 1, 2, 3}), ("brats21", {0, 1, 2, 4}), ("brats", {0, 1, 2, 4})]
)
def test_label_schemes_are_kept(run, exams, tmp_path, scheme, labels):
    exam = shutil.copytree(exams[0], tmp_path / "a")
    table = {"msd": [0, 2, 1, 3]}.get(scheme, [0, 1, 2, 4])
    stored = np.array(table, np.uint8)[make_labels(SHAPE, CENTERS["a"])]
    nib.save(nib.Nifti1Image(stored, LPS), exam / "a-seg.nii.gz")
    code, _, errors, out = run("--label-scheme", scheme, exams=[exam])
    assert code == 0, errors
    paths = simulate_exam.segmentation_paths("a", 5, out)
    arrays = [np.asarray(nib.load(path).dataobj) for path in paths]
    assert np.array_equal(arrays[0], stored)
    assert set().union(*map(np.unique, arrays)) <= labels
    *_, plain = run(exams=[exams[0]], out=tmp_path / "plain")
    same = [np.asarray(nib.load(path).dataobj) for path in simulate_exam.segmentation_paths("a", 5, plain)]
    for array, other in zip(arrays, same, strict=True):
        assert np.array_equal(array, np.array(table, np.uint8)[other])


def test_a_cavity_stays_in_what_is_written_and_is_no_tumor(run, exams, tmp_path):
    exam, labels = shutil.copytree(exams[0], tmp_path / "a"), make_labels(SHAPE, CENTERS["a"])
    stored = labels.copy()
    stored[:4][labels[:4] == 0] = 4
    nib.save(nib.Nifti1Image(stored, LPS), exam / "a-seg.nii.gz")
    code, _, errors, out = run("--label-scheme", "brats24", exams=[exam])
    assert code == 0, errors
    *_, plain = run(exams=[exams[0]], out=tmp_path / "plain")
    for path, other in zip(*(simulate_exam.segmentation_paths("a", 5, folder) for folder in (out, plain)), strict=True):
        array, expected = (np.asarray(nib.load(file).dataobj) for file in (path, other))
        assert array.dtype == np.uint8
        assert np.array_equal(array, np.where((expected == 0) & (stored == 4), 4, expected))


def test_other_exam_of_another_shape_is_passed_over(tmp_path):
    small = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), LPS)
    fitting = nib.Nifti1Image(np.full((5, 4, 4), 4, np.uint8), LPS)
    paths = [tmp_path / "small.nii", tmp_path / "fitting.nii"]
    nib.save(small, paths[0])
    nib.save(fitting, paths[1])
    assert (simulate_exam._find_other(paths, (5, 4, 4), GLIOMA.scheme("brats")) == 3).all()
    assert simulate_exam._find_other(paths, (6, 4, 4), GLIOMA.scheme("brats")) is None


def test_drawn_errors_range_from_mild_to_failed():
    plans = simulate_exam.draw_steps(4, np.random.default_rng(0), with_other=False, task=GLIOMA)
    for index, steps in enumerate(plans):
        assert 1 <= len({name for name, _ in steps}) == len(steps) <= 3
        assert all(0.6 * index / 4 <= severity <= (index + 1) / 4 for _, severity in steps)
    many = simulate_exam.draw_steps(300, np.random.default_rng(0), with_other=False, task=GLIOMA)
    assert {name for steps in many for name, _ in steps} == set(simulate_exam.CORRUPTIONS) - {"other"}
    assert {len(steps) for steps in many} == {1, 2, 3}


def test_phantoms_from_end_to_end(run, monkeypatch):
    """With a tiny stand-in for the phantom, which takes two seconds; its files have the names of BraTS 2023."""

    def tiny(seed):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        labels = {"reference": make_labels(SHAPE, list(CENTERS.values())[seed - 7])}
        return Exam(f"phantom-{seed}", make_image(seed=seed).astype(np.int16), labels, affine)

    monkeypatch.setitem(PHANTOMS, "glioma", replace(PHANTOMS["glioma"], make=tiny))
    code, output, errors, out = run("--phantoms", 2, "--first-phantom", 7, exams=[])
    assert code == 0, errors
    assert "of 10 segmentations of 2 exams" in output
    folder = out / "exams" / "phantom-7"
    assert [path.name for path in sorted(folder.iterdir())] == [
        f"phantom-7-{token}.nii.gz" for token in ("seg", "t1c", "t1n", "t2f", "t2w")
    ]
    assert np.asarray(nib.load(folder / "phantom-7-t2w.nii.gz").dataobj).dtype == np.int16
    exam = read_exam(folder)
    assert np.array_equal(exam.image, tiny(7).image)
    assert np.array_equal(exam.affine, tiny(7).affine)
    never = replace(PHANTOMS["glioma"], make=lambda seed: pytest.fail("drawn again"))
    monkeypatch.setitem(PHANTOMS, "glioma", never)
    before = contents(out)
    assert run("--phantoms", 2, "--first-phantom", 7, exams=[])[0] == 0
    assert contents(out) == before


ERRORS = {
    "nothing": ([], [], "expected either --phantoms N (1 or more) or --exams FOLDER ..., found both or neither"),
    "both": (["--phantoms", 1], "abc", "found both or neither"),
    "no reference": (["--reference", ""], "abc", "expected --reference NAME with --exams"),
    "other reference": (["--reference", "expert"], "abc", "a: --reference expert fits none of a-seg; give a name"),
    "twice": ([], "aa", "expected exams of different names, found two folders named a; rename one"),
    "no exam": (["--exams", "nowhere"], [], "nowhere: expected an exam's folder, found nothing there"),
    "few segmentations": (["--segmentations", 1], "abc", "--segmentations must be 2 or more, got 1"),
    "raters": (["--raters", -1], "abc", "--raters must be 0 or more, got -1"),
    "workers": (["--workers", 0], "abc", "--workers must be 1 or more, got 0"),
    "seed": (["--seed", -1], "abc", "--seed must be 0 or more, got -1"),
    "phantoms' scheme": (["--phantoms", 1, "--label-scheme", "msd"], [], "--label-scheme msd is for --exams"),
    "labels": (["--label-scheme", "brats21"], "abc", "a-seg.nii.gz: label scheme 'brats21' has the labels"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(run, exams, case):
    arguments, names, message = ERRORS[case]
    chosen = [exam for name in names for exam in exams if exam.name == name]
    if "--exams" in arguments:
        arguments = [*arguments, "--reference", "seg"]
    code, output, errors, out = run(*arguments, exams=chosen)
    assert code == 2
    assert errors.startswith("dqe simulate: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert output == ""
    assert not (out / "ratings.csv").exists()


def test_a_folder_is_of_one_simulation(run, exams):
    *_, out = run("--segmentations", 2)
    before = contents(out)
    code, _, errors, _ = run("--segmentations", 3, "--seed", 4)
    assert code == 2
    assert (
        f"{out}: holds a simulation with another segmentations and seed (segmentations was 2, is 3); repeat it as "
        in errors
    )
    assert "another exams" in run("--segmentations", 2, exams=exams[:1])[2]
    assert contents(out) == before
    (out / "simulation.json").write_text("{")
    assert "simulation.json: cannot be read as JSON" in run("--segmentations", 2)[2]
    (out / "simulation.json").write_text(json.dumps({}))
    assert "another segmentations and raters and seed and label_scheme and exams" in run("--segmentations", 2)[2]


def test_out_is_a_file(run, tmp_path):
    (tmp_path / "file").touch()
    assert "file: cannot be a folder" in run(out=tmp_path / "file")[2]


def test_reference_without_tumor(run, exams, tmp_path):
    exam = shutil.copytree(exams[0], tmp_path / "a")
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), LPS), exam / "a-seg.nii.gz")
    code, _, errors, _ = run(exams=[exam])
    assert code == 2
    assert "a-seg.nii.gz: expected a reference with tumor, found none; leave it out" in errors


def test_reference_by_its_exact_name_wins(run, exams, tmp_path):
    exam = shutil.copytree(exams[0], tmp_path / "a")
    shutil.copy(exam / "a-seg.nii.gz", exam / "seg.nii.gz")
    assert run(exams=[exam])[0] == 0
    shutil.copy(exam / "a-seg.nii.gz", exam / "b-seg.nii.gz")
    (exam / "seg.nii.gz").unlink()
    assert (
        "--reference seg fits a-seg, b-seg, expected one of them; give more"
        in run(exams=[exam], out=tmp_path / "other")[2]
    )


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(run, exams, tmp_path):
    exam = shutil.copytree(exams[0], tmp_path / "a")
    nib.save(nib.Nifti1Image(make_labels(), np.eye(4)), exam / "a-seg.nii.gz")
    code, _, errors, _ = run("--segmentations", 2, exams=[exam])
    assert code == 0
    assert errors.startswith("dqe simulate: warning: ")
    assert "a-seg.nii.gz: its affine differs" in errors
    assert errors.count("\n") == 1


def test_workers_hand_their_warnings_back():
    def job(message):
        warnings.warn(message, UserWarning, stacklevel=1)
        warnings.warn("not for users", DeprecationWarning, stacklevel=1)

    assert simulate._noting_warnings(job, "mind this") == (None, ["mind this"])


def test_interrupt_exits_with_130(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate_exam, "read_exam", interrupt)
    assert run()[0] == 130
