"""The teaching of a refiner: batches, loss, held-out exams, and that a run goes on where it was."""

import multiprocessing
import os
import signal

import pytest
import torch
from taught import make_refiner, make_taught

from dqe_loss.harden import batches as making
from dqe_loss.harden import teacher as teaching
from dqe_loss.harden.batches import batches_from, draw_batch, network_threads, worker_count
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.held_out import judge, judged_planes
from dqe_loss.harden.masks import as_regions
from dqe_loss.harden.objective import attack_rounds, learning_rate, please_refiner, teaching_loss
from dqe_loss.harden.teacher import Teacher
from dqe_loss.processes import StopRequest
from dqe_loss.task import GLIOMA

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("exams"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("exams"), "other", place=-0.3)


class StopAfter(StopRequest):
    """A signal that comes after some steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def __bool__(self):
        self.left -= 1
        return self.left < 0


def same(first, second):
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])


def test_a_step_depends_on_seed_and_step_alone(exam):
    config = HardenConfig(batch=2)
    for first, again in zip(draw_batch([exam], config, 5), draw_batch([exam], config, 5), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(draw_batch([exam], config, 5)[0], draw_batch([exam], config, 6)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_makes_the_same_batches(exam, workers):
    config = HardenConfig(batch=2, steps=4, workers=workers)
    found = list(batches_from([exam], config, 1, CPU))
    assert len(found) == 3
    for step, batch in enumerate(found, start=1):
        for first, second in zip(batch, draw_batch([exam], config, step), strict=True):
            assert torch.equal(first, second)


def test_cores_are_shared_between_batches_and_network(monkeypatch):
    monkeypatch.setattr(making, "available_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert (worker_count(HardenConfig(), CPU), network_threads(HardenConfig(), CPU)) == (2, 6)
    assert worker_count(HardenConfig(), torch.device("cuda")) == 7
    assert network_threads(HardenConfig(workers=20), CPU) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)  # as OMP_NUM_THREADS says
    assert network_threads(HardenConfig(), CPU) == 3
    monkeypatch.setattr(making, "available_cores", lambda: 1)
    assert (worker_count(HardenConfig(), CPU), network_threads(HardenConfig(), CPU)) == (0, 1)


def test_an_attack_gives_in_to_the_refiner():
    class Sure(torch.nn.Module):
        def forward(self, scans, regions):
            return torch.tensor([3.0, 0.1, -3.0]).view(1, 3, 1, 1).expand_as(regions)

    attacked = please_refiner(Sure(), torch.zeros(1, 4, 2, 2), torch.full((1, 3, 2, 2), 0.4), 2)
    assert attacked[0, :, 0, 0].tolist() == pytest.approx([0.95, 0.4, 0.05])


def test_attacks_begin_late_and_grow():
    rounds = [attack_rounds(HardenConfig(steps=1000), step) for step in range(1000)]
    assert not any(rounds[:300])
    assert not any(rounds[::2])
    assert set(rounds[301:475:2]) == {1}
    assert set(rounds[851::2]) == {1, 2, 3}


def test_the_loss_by_hand():
    truth = torch.zeros(1, 3, 4, 4)
    truth[:, :, :2] = 1
    assert teaching_loss(60 * (2 * truth - 1), truth).item() == pytest.approx(0, abs=1e-6)
    # Nothing predicted for 8 voxels: Dice (0 + 20) / (8 + 20); half of the voxels are wrong by 60.
    assert teaching_loss(torch.full_like(truth, -60.0), truth).item() == pytest.approx(1 - 20 / 28 + 2 * 30, rel=1e-5)


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [learning_rate(HardenConfig(steps=100), step) for step in range(100)]
    assert max(rates) == rates[9] == pytest.approx(2e-3)
    assert rates[0] == pytest.approx(2e-4)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def make_teacher(folder, exams, held_out=(), name="state.pt", **options):
    options = {"steps": 4, "batch": 2, "save_every": 2, "attack_from": 0.0, "workers": 0} | options
    config = HardenConfig(out=folder, **options)
    teacher = Teacher(config, make_refiner(), exams, held_out, CPU, folder / name, lambda _: None)
    teacher.judged = teacher.judged[:1]  # of nine: whole planes take long
    return teacher


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_ends_in_the_same_bits(exam, other, tmp_path, workers):
    unbroken = make_teacher(tmp_path, [exam], [other], "a.pt")
    assert unbroken.run({"same": 1}, StopRequest())
    stopped = make_teacher(tmp_path, [exam], [other], "b.pt", workers=workers)
    assert not stopped.run({"same": 1}, StopAfter(3))
    resumed = make_teacher(tmp_path, [exam], [other], "b.pt", workers=workers, resume=True)
    assert resumed.run({"same": 1}, StopRequest())
    assert same(unbroken.weights, resumed.weights)
    assert unbroken.conclude() == resumed.conclude()
    assert same(unbroken.refiner, resumed.refiner)


def test_a_signal_ends_the_workers_and_saves_the_state(exam, tmp_path):
    """Signals reach the whole group of processes: the workers leave them to the training, which ends them."""
    teacher = make_teacher(tmp_path, [exam], steps=10_000, workers=2, save_every=10_000)
    took = teacher._step

    def signaled(batch, step):
        if step == 2:
            children = multiprocessing.active_children()
            assert len(children) == 2
            for process in (*children, None):
                os.kill(process.pid if process else os.getpid(), signal.SIGTERM)
        return took(batch, step)

    teacher._step = signaled
    with StopRequest().listening() as stop:
        assert not teacher.run({}, stop)
    assert stop.signal == signal.SIGTERM
    assert teacher.progress.step == 3
    assert torch.load(tmp_path / "state.pt", weights_only=True)["progress"]["step"] == 3
    assert not multiprocessing.active_children()


def test_without_held_out_exams_the_last_weights_count(exam, tmp_path):
    teacher = make_teacher(tmp_path, [exam], steps=1)
    assert teacher.run({}, StopRequest())
    before = {n: t.clone() for n, t in teacher.refiner.state_dict().items()}
    assert teacher.conclude() == 1
    assert all(torch.equal(before[n], t) for n, t in teacher.refiner.state_dict().items())


def test_the_best_state_is_taken(exam, other, tmp_path, monkeypatch):
    figures, seen = iter([0.9, 0.4, 0.4, 0.7]), []

    def judged(refiner, planes, device, task):
        seen.append({n: t.clone() for n, t in refiner.state_dict().items()})
        return {"held_out_distance": next(figures)}

    monkeypatch.setattr(teaching, "judge", judged)
    teacher = make_teacher(tmp_path, [exam], [other], save_every=1)
    assert teacher.run({}, StopRequest())
    assert teacher.conclude() == 3  # the later of two equals
    assert all(torch.equal(seen[2][n], t) for n, t in teacher.refiner.state_dict().items())


def test_held_out_planes_are_the_same_each_time(exam):
    planes, again = judged_planes([exam]), judged_planes([exam])
    assert len(planes) == 9
    assert [plane.rated for plane in planes] == 3 * [True, False, False]
    for plane, second in zip(planes, again, strict=True):
        assert plane.scans.shape == (4, 240, 240)
        assert plane.masks.shape == (7, 240, 240)
        assert torch.equal(plane.masks, second.masks)
        assert plane.masks[5].sum() == plane.masks[0].sum()
        assert not plane.masks[-1].any()
    assert all(planes[i].masks[0].any() for i in (0, 1, 3, 4, 6, 7))


class Knows(torch.nn.Module):
    """A refiner that draws the reference, or what it is given."""

    def __init__(self, planes, believes):
        super().__init__()
        self.planes, self.believes = planes, believes

    def forward(self, scans, regions):
        if self.believes:
            return 20 * regions - 10
        plane = next(plane for plane in self.planes if torch.equal(plane.scans, scans[0]))
        return (20 * as_regions(plane.masks[:1], GLIOMA) - 10).expand(len(regions), -1, -1, -1)


def test_a_perfect_refiner_has_no_distance(exam):
    planes = judged_planes([exam])
    row = judge(Knows(planes, believes=False), planes, CPU, GLIOMA)
    for name in ("right", "lowest", "blind", "attacked", "r"):
        assert row[f"held_out_{name}"] == pytest.approx(1), name
    assert row["held_out_error"] == pytest.approx(0, abs=1e-6)
    assert row["held_out_distance"] == pytest.approx(0, abs=1e-6)


def test_a_refiner_that_believes_all_is_far_from_perfect(exam):
    planes = judged_planes([exam])
    row = judge(Knows(planes, believes=True), planes, CPU, GLIOMA)
    assert row["held_out_right"] == pytest.approx(1)
    assert row["held_out_attacked"] == pytest.approx(1)
    assert row["held_out_r"] == row["held_out_blind"] == 0
    assert row["held_out_error"] > 0.2
    assert row["held_out_distance"] == pytest.approx(1 + row["held_out_error"])
