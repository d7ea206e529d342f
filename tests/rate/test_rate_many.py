"""`python -m dqe_loss.rate` for a data set: each exam once, whatever is killed, and the numbers of one at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cohort import write, write_exam
from helpers import make_labels, shrink, small_surrogate

import dqe_loss
from dqe_loss import MODALITIES, Surrogate, save_surrogate
from dqe_loss.data.exams import read_exam
from dqe_loss.data.tables.rated import COLUMNS, read_rated
from dqe_loss.processes import launched, own_device
from dqe_loss.rate import command as rate
from dqe_loss.rate import rate_data_set as module
from dqe_loss.rate.journal import Entry, Journal
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.rate.read_ahead import read_ahead

ROOT = Path(dqe_loss.__file__).parents[1]
EXAMS = 12
STARS = ["axial", "coronal", "sagittal", "mean"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Tiny exams with two masks each, one of them in a subfolder."""
    root = tmp_path_factory.mktemp("data")
    for number in range(EXAMS):
        write_exam(root / f"site-{number % 2}" / f"case-{number}", seed=number, masks=("seg-a", "failed/seg-b"))
    return root


@pytest.fixture
def command(data, checkpoint, tmp_path):
    return of(data, tmp_path / "stars.csv", checkpoint)


def of(data, out, checkpoint):
    return ["--data", str(data), "--out", str(out), "--checkpoint", str(checkpoint)]


@pytest.fixture(scope="module")
def expected(data):
    """The stars of each mask, each exam rated by itself."""
    stars = {}
    for folder in sorted(data.glob("site-*/case-*")):
        exam = folder.relative_to(data).as_posix()
        for name, file in (("seg-a", "seg-a.nii.gz"), ("failed/seg-b", "failed/seg-b.nii.gz")):
            paths = module_paths(folder, file)
            (values,) = rate_exam(read_exam(paths), small_surrogate()).values()
            stars[exam, name] = [values[name] for name in STARS]
    return stars


def module_paths(folder, file):
    from dqe_loss.data.exam_files import ExamPaths

    t1c, t1, t2, flair = (folder / f"{folder.name}_{name}.nii.gz" for name in MODALITIES)
    return ExamPaths({"t1c": t1c, "t1": t1, "t2": t2, "flair": flair}, (folder / file,))


def check(path, expected):
    """Each segmentation once, in order, with the numbers of one at a time."""
    table = read_rated(path)
    found = {(row["exam"], row["segmentation"]): [row[name] for name in STARS] for row in table.to_dict("records")}
    assert len(table) == len(found) == len(expected)
    assert list(found) == list(expected)
    for key, stars in expected.items():
        assert found[key] == pytest.approx(stars, abs=1e-5), key
    return table


def journaled(folder):
    """Exams in the journal, one for each whole line."""
    lines = [line for path in folder.glob("rank-*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line)["exam"] for line in lines]


def start(*arguments):
    """Run a module in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_two_exams(process, file):
    deadline = time.monotonic() + 120
    while not (file.exists() and file.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_table_as_a_user_gets_it(command, data, expected, tmp_path, capsys):
    assert rate.main(command) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"{EXAMS} exams in ")
    assert lines[0].endswith(" exams/s")
    assert "stars.csv: predicted stars, 1 (worst) to 6 (best), by small.safetensors, learned from human" in lines[1]
    masks = 2 * EXAMS
    assert (
        lines[2]
        == f"{masks} segmentations of {EXAMS} exams: {masks} rated, 0 failed, {masks} with warnings (0 to review)"
    )
    assert f"{EXAMS}/{EXAMS}" in err
    assert "exam/s]" in err

    table = check(tmp_path / "stars.csv", expected)
    assert list(table) == [*COLUMNS, "labels"]
    row = table.iloc[1]
    assert (row["exam"], row["segmentation"]) == ("site-0/case-0", "failed/seg-b")
    assert row["mask"] == str(data / "site-0/case-0/failed/seg-b.nii.gz")
    assert (row["unit"], row["checkpoint"], row["label_scheme"]) == ("stars", "small.safetensors", "brats")
    assert row["spread"] == pytest.approx(max(row[STARS[:3]]) - min(row[STARS[:3]]), abs=1e-4)
    labels = read_exam(module_paths(data / "site-0/case-0", "failed/seg-b.nii.gz")).segmentations["seg-b"]
    volumes = [np.isin(labels, values).sum() / 1000 for values in ((1, 3), (1, 2, 3), (3,))]
    assert row[["tc_ml", "wt_ml", "et_ml"]].tolist() == pytest.approx(volumes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stars.csv", "stars.csv.journal"]


@pytest.mark.slow
def test_killed_and_run_again_every_exam_is_there_once(command, expected, tmp_path, capsys):
    """kill -9 in the middle, a torn line, and the same command again."""
    process = start("dqe_loss.rate", *command, "--workers", "1")
    file = tmp_path / "stars.csv.journal" / "rank-0.jsonl"
    wait_for_two_exams(process, file)
    process.kill()
    process.communicate()
    done = journaled(file.parent)
    assert 2 <= len(done) < EXAMS
    assert not (tmp_path / "stars.csv").exists()
    with file.open("ab") as torn:
        torn.write(b'{"exam": "site-1/case-9", "stamp": "')
    assert rate.main(command) == 0
    assert capsys.readouterr().out.startswith(f"{EXAMS - len(done)} exams in ")
    check(tmp_path / "stars.csv", expected)
    again = journaled(file.parent)
    assert again[: len(done)] == done
    assert len(again) == len(set(again)) == EXAMS

    before = (tmp_path / "stars.csv").read_bytes()
    assert rate.main(command) == 0  # nothing is left
    assert capsys.readouterr().out.startswith("no exam was left to rate\n")
    assert (tmp_path / "stars.csv").read_bytes() == before


@pytest.mark.slow
def test_two_processes_one_of_them_stopped_and_started_again(command, expected, tmp_path, capsys, monkeypatch):
    """Nobody waits for anybody: whoever is last writes the table."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with monkeypatch.context() as patch:
        stop_in_the_middle(patch)
        assert rate.main(command) == 128 + signal.SIGTERM
    assert len(journaled(tmp_path / "stars.csv.journal")) == 3
    monkeypatch.setenv("RANK", "0")
    assert rate.main(command) == 0
    left = EXAMS // 2 - 3
    out = capsys.readouterr().out
    assert f"rank 0 of 2: its share is done, {left} exams of others are not; who is last writes" in out
    assert not (tmp_path / "stars.csv").exists()
    monkeypatch.setenv("RANK", "1")
    assert rate.main(command) == 0
    assert f"rank 1 of 2: {left} exams in " in capsys.readouterr().out
    check(tmp_path / "stars.csv", expected)
    done = journaled(tmp_path / "stars.csv.journal")
    assert len(done) == len(set(done)) == EXAMS


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the process to kill in /proc")
def test_torchrun_starts_again_what_was_killed(command, expected, tmp_path):
    """Two processes of torchrun; the second is killed in the middle, and torchrun starts both again."""
    launcher = ["--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1", "--master-port=0"]
    process = start("torch.distributed.run", *launcher, "-m", "dqe_loss.rate", *command, "--workers", "1")
    file = tmp_path / "stars.csv.journal" / "rank-1.jsonl"
    wait_for_two_exams(process, file)
    os.kill(process_of_rank(process.pid, 1), signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    check(tmp_path / "stars.csv", expected)
    assert len(journaled(file.parent)) == len(set(journaled(file.parent))) == EXAMS


def process_of_rank(launcher, rank):
    for children in Path(f"/proc/{launcher}/task").glob("*/children"):
        for child in children.read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
    raise AssertionError("no such process")


def stop_in_the_middle(patch):
    """SIGTERM while the first mask of the third exam is rated."""
    rate_prepared = module.rate_prepared
    calls = []

    def rate_and_stop(prepared, surrogate):
        calls.append(prepared)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return rate_prepared(prepared, surrogate)

    patch.setattr(module, "rate_prepared", rate_and_stop)


@pytest.mark.slow
def test_sigterm_ends_after_the_exam_and_writes_what_is_there(command, expected, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_the_middle(patch)
        assert rate.main(command) == 128 + signal.SIGTERM
    err = capsys.readouterr().err
    assert f"stopped by signal 15, {EXAMS - 3} exams are left; the same command goes on" in err
    assert len(read_rated(tmp_path / "stars.csv")) == 6
    assert rate.main(command) == 0
    check(tmp_path / "stars.csv", expected)


def test_what_changed_is_rated_again_and_what_is_new(tmp_path, checkpoint, capsys):
    for name in ("a", "b"):
        write_exam(tmp_path / "data" / name)
    command = [
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "stars.parquet"),
        "--checkpoint",
        str(checkpoint),
    ]
    assert rate.main(command) == 0
    before = read_rated(tmp_path / "stars.parquet")
    write(tmp_path / "data" / "a" / "seg-a.nii.gz", make_labels(center=(0.3, 0.1, 0.0)))  # another run's prediction
    write_exam(tmp_path / "data" / "c")
    capsys.readouterr()
    assert rate.main(command) == 0
    assert capsys.readouterr().out.startswith("2 exams in ")
    after = read_rated(tmp_path / "stars.parquet")
    assert list(after["exam"]) == ["a", "a", "b", "b", "c", "c"]
    assert after.loc[0, "mean"] != before.loc[0, "mean"]
    assert after.loc[1:3, "mean"].tolist() == before.loc[1:3, "mean"].tolist()


def test_failures_give_exit_code_1_and_can_be_tried_again(tmp_path, checkpoint, capsys, monkeypatch):
    write_exam(tmp_path / "data" / "a")
    bad = write_exam(tmp_path / "data" / "b") / "seg-b.nii.gz"
    bad.write_bytes(b"")
    command = of(tmp_path / "data", tmp_path / "stars.csv", checkpoint)
    assert rate.main(command) == 1
    out, err = capsys.readouterr()
    assert "4 segmentations of 2 exams: 3 rated, 1 failed, 3 with warnings (0 to review)" in out
    assert f"failed: b/seg-b: {bad}: expected a NIfTI file, found an empty one (0 bytes)" in err
    assert rate.main(command) == 1
    assert capsys.readouterr().out.startswith("no exam was left to rate")
    assert rate.main([*command, "--retry"]) == 1
    assert capsys.readouterr().out.startswith("1 exams in ")
    write(bad, make_labels())
    assert rate.main(command) == 0  # a file that was mended is another file
    assert read_rated(tmp_path / "stars.csv")["error"].tolist() == [""] * 4


def test_nothing_but_the_exam_suffers_from_an_error_nobody_thought_of(command, tmp_path, monkeypatch):
    from dqe_loss.rate import table_rows

    read = table_rows.open_exam

    def fail(paths, **options):
        if paths.name.endswith("case-3"):
            raise MemoryError("no\nroom")
        return read(paths, **options)

    monkeypatch.setattr(table_rows, "open_exam", fail)
    assert rate.main(command) == 1
    table = read_rated(tmp_path / "stars.csv")
    assert table["error"][table["error"] != ""].tolist() == ["MemoryError: no room"] * 2


def test_stars_that_are_none_are_an_error(command, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "dqe_loss.rate.table_rows.rate_prepared_stars", lambda *_: torch.tensor([[1.0, float("nan"), 2.0]])
    )
    assert rate.main(command) == 1
    assert set(read_rated(tmp_path / "stars.csv")["error"]) == {"the surrogate gives 1.0, nan, 2.0, which are no stars"}


def test_nnunet_folders(tmp_path, checkpoint, capsys):
    folder = write_exam(tmp_path / "case_1")
    for number, name in enumerate(("t1", "t1c", "t2", "flair")):
        place = tmp_path / "Dataset137" / "imagesTr" / f"case_1_{number:04}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"case_1_{name}.nii.gz").rename(place)
    labels = np.choose(read_labels(folder / "seg-a.nii.gz"), [0, 2, 1, 3]).astype(np.uint8)
    (tmp_path / "Dataset137" / "labelsTr").mkdir()
    write(tmp_path / "Dataset137" / "labelsTr" / "case_1.nii.gz", labels)
    command = [
        "--data",
        str(tmp_path / "Dataset137"),
        "--out",
        str(tmp_path / "a.csv"),
        "--checkpoint",
        str(checkpoint),
    ]
    assert rate.main(command) == 2
    assert "hold labels of either order, and the wrong one would go unseen; say --label-" in capsys.readouterr().err
    assert rate.main([*command, "--label-scheme", "nnunet"]) == 0
    row = read_rated(tmp_path / "a.csv").iloc[0]
    (stars,) = rate_exam(
        read_exam(module_paths(write_exam(tmp_path / "again"), "seg-a.nii.gz")), small_surrogate()
    ).values()
    assert [row[name] for name in STARS] == pytest.approx([stars[name] for name in STARS], abs=1e-5)
    assert row["segmentation"] == "labelsTr"


def read_labels(path):
    from dqe_loss.data.nifti import read_volume

    return read_volume(path)[0]


def test_a_table_of_paths_and_predictions(tmp_path, checkpoint):
    folder = write_exam(tmp_path / "exams" / "x")
    row = {name: f"exams/x/x_{name}.nii.gz" for name in MODALITIES}
    pd.DataFrame([{"exam": "7", "segmentation": "exams/x/seg-b.nii.gz", **row}]).to_csv(tmp_path / "p.csv", index=False)
    base = ["--checkpoint", str(checkpoint), "--data"]
    assert rate.main([*base, str(tmp_path / "p.csv"), "--out", str(tmp_path / "one.csv")]) == 0
    (tmp_path / "net").mkdir()
    (folder / "seg-b.nii.gz").rename(tmp_path / "net" / "x.nii.gz")
    assert rate.main([*base, str(tmp_path / "exams"), "--out", str(tmp_path / "two.csv"), "--predictions",
                      str(tmp_path / "net")]) == 0  # fmt: skip
    one, two = (read_rated(tmp_path / name).iloc[0] for name in ("one.csv", "two.csv"))
    assert (one["exam"], one["segmentation"], two["exam"], two["segmentation"]) == ("7", "seg-b", "x", "net")
    assert one["mean"] == two["mean"]


def other_weights(checkpoint):
    surrogate = shrink(small_surrogate())
    next(surrogate.network.parameters()).data.mul_(1.01)
    save_surrogate(surrogate, checkpoint.with_name("other.safetensors"))
    return str(checkpoint.with_name("other.safetensors"))


@pytest.mark.slow
def test_a_journal_of_something_else_is_refused(command, checkpoint, tmp_path, capsys):
    assert rate.main(command) == 0
    before = (tmp_path / "stars.csv").read_bytes()
    for changes, differing in (
        (["--label-scheme", "brats23"], "another label_scheme (label_scheme was 'brats', is 'brats23')"),
        (["--center", "mask", "flair"], "another center (center was 'mask', is 'mask flair')"),
        (["--checkpoint", other_weights(checkpoint)], "another checkpoint_sha256 (checkpoint_sha256 was '"),
        (["--data", str(Path(command[1]) / "site-0")], "another data (data was '"),
    ):
        capsys.readouterr()
        assert rate.main([*command, *changes]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"dqe rate: error: {tmp_path / 'stars.csv.journal'}: holds a rating with {differing}")
        assert line.endswith("; give another --out, or delete that folder to begin anew\n")
        assert line.count("\n") == 1
    assert (tmp_path / "stars.csv").read_bytes() == before


USAGE = {
    "out alone": (["--out", "{out}/a.csv"], "expected --data and --out, found only --out"),
    "data alone": (["--data", "x"], "expected --data and --out, found only --data"),
    "both modes": (["--data", "x", "--out", "{out}/a.csv", "--exam", "y"], "--exam is for a single exam"),
    "format": (["--data", "x", "--out", "{out}/a.txt"], "a.txt: expected a table that ends in .csv or .parquet"),
    "no folder": (["--data", "x", "--out", "{out}/no/a.csv"], "a.csv: cannot be written, there is no folder"),
    "no data": (
        ["--data", "{out}/x", "--out", "{out}/a.csv"],
        "expected the folder of a data set, found nothing there",
    ),
    "no workers": (["--data", "x", "--out", "{out}/a.csv", "--workers", "0"], "--workers must be 1 or more, got 0"),
    "single exam": (["--exam", "x", "--retry"], "--retry is for a data set; give it with --data and --out"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage_errors_are_one_line_and_leave_nothing(case, tmp_path, checkpoint, capsys):
    arguments, message = USAGE[case]
    filled = [argument.format(out=tmp_path) for argument in arguments]
    assert rate.main([*filled, "--checkpoint", str(checkpoint)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("dqe rate: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_journal_begun_when_center_was_called_look_goes_on(tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "settings.json").write_text('{"look": "mask"}')
    Journal.open(tmp_path / "journal", {"center": "mask"})
    with pytest.raises(ValueError, match="a rating with another center"):
        Journal.open(tmp_path / "journal", {"center": "mask flair"})


def test_journal_keeps_whole_lines_and_the_last_word(tmp_path):
    journal = Journal.open(tmp_path / "j", {"a": 1})
    with journal.writing(0) as writer:
        writer.add(Entry("x", "1", ({"error": ""},)), 1.0)
        writer.add(Entry("y", "1", ({"error": "bad"},)), 2.0)
    with journal.writing(1) as writer:
        writer.add(Entry("x", "2", ({"error": ""},)), 3.0)
        with pytest.raises(ValueError, match=r"rank-1.jsonl: another process is writing there; wait for it"), \
             journal.writing(1):  # fmt: skip
            pass
    with (tmp_path / "j" / "rank-0.jsonl").open("ab") as file:
        file.write(b'{"exam": "z"')  # torn: not there yet
    assert {name: entry.stamp for name, entry in journal.read().items()} == {"x": "2", "y": "1"}
    assert [entry.failed for entry in journal.read().values()] == [False, True]
    with journal.writing(0) as writer:
        writer.add(Entry("z", "1", ()), 4.0)
    assert sorted(journal.read()) == ["x", "y", "z"]
    content = (tmp_path / "j" / "rank-0.jsonl").read_bytes()
    (tmp_path / "j" / "rank-0.jsonl").write_bytes(content.replace(b'"stamp"', b'"stump"', 1))
    with pytest.raises(ValueError, match=r"rank-0.jsonl, line 1: cannot be read .* delete the line, and its exam is"):
        journal.read()
    (tmp_path / "j" / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings.json: cannot be read .* delete that folder"):
        Journal.open(tmp_path / "j", {"a": 1})


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_ahead_is_bounded_and_in_order(workers):
    lock, alive, most = threading.Lock(), 0, 0

    def prepare(number):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return number**2

    taken = []
    for number, square in read_ahead(range(20), prepare, workers):
        time.sleep(0.003)  # a slow network: the readers would run away
        taken.append((number, square))
        with lock:
            alive -= 1
    assert taken == [(number, number**2) for number in range(20)]
    assert most <= workers + 1


def test_reading_ahead_stops_with_its_caller_and_limits_its_own_threads_alone():
    made, threads = [], torch.get_num_threads()

    def seen_by_another_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    torch.set_num_threads(3)
    try:
        ahead = read_ahead(range(1000), lambda _: made.append(torch.get_num_threads()), 2)
        next(ahead)
        assert (torch.get_num_threads(), seen_by_another_thread()) == (3, 3)
        ahead.close()
        assert len(made) <= 4
        assert set(made) == {1}
        assert (torch.get_num_threads(), seen_by_another_thread()) == (3, 3)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "3"}, (2, 3)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, (1, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),  # a batch script, before srun
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "RANK": "5", "WORLD_SIZE": "8"},
            (5, 8),
        ),  # torchrun in srun
    ],
)
def test_launchers(environment, expected, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected


@pytest.mark.parametrize(("rank", "world"), [("3", "3"), ("", "2"), ("-1", "2"), ("0", "0"), ("a", "2")])
def test_launchers_that_contradict_themselves(rank, world, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(ValueError, match="expected whole numbers, the first from 0 to below the second"):
        launched()


def test_each_process_takes_the_gpu_of_its_rank(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "5")
    for count, expected in (
        (0, "cuda"),
        (1, "cuda"),
        (4, "cuda:1"),
        (8, "cuda:5"),
    ):  # 1: the launcher shows one to each
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert own_device("cuda") == expected
        assert own_device("cpu") == "cpu"


@pytest.mark.slow
@pytest.mark.exams
def test_real_exams(exams, surrogate: Surrogate, tmp_path):
    """The published numbers, from the whole tree; the failed runs keep their folder in their name."""
    from dqe_loss.rate.plan import RatePlan

    outcome = module.rate_data_set(
        RatePlan(exams / "BraTS-GLI-00001-000", tmp_path / "stars.csv", "brainlesion"), surrogate
    )
    rows = outcome.table.set_index("segmentation")
    assert rows.loc["seg-BraTS23_1", STARS].tolist() == pytest.approx([5.45254, 5.13865, 5.35569, 5.31563], abs=1e-4)
    assert rows.loc["seg-BraTS23_1", "warnings"] == ""
    assert rows.loc["seg-BraTS23_1_mapped", "warnings"].endswith("[header]")
    assert (
        "as the arrays lie 100.0% of its voxels lie in the head, reoriented by its affine 96.8%"
        in rows.loc["seg-BraTS23_1_mapped", "warnings"]
    )
