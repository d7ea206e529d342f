"""nnU-Net's ``-num_gpus 2``: two processes train as one does, and log the same figures."""

import math

import numpy as np
import pytest
import torch
from helpers import make_exam
from process_group import RANKS
from test_nnunet_trainer import REGIONS, SIDE, data_set
from two_processes import STEPS, small_cpu, train, work

from dqe_loss.integrations.nnunet.progress import SERIES

pytestmark = [
    pytest.mark.slow,  # processes that import nnU-Net
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed"),
]


def make_batches(patches, with_tumor):
    """Batches as nnU-Net's loader has them, with a tumor in those patches that are named."""
    batches = []
    for number in range(2 * STEPS):
        image, labels = make_exam((SIDE,) * 3, seeds=range(patches * number, patches * (number + 1)))
        labels[[i for i in range(patches) if i not in with_tumor]] = 0
        own = torch.tensor([0, 2, 1, 3])[labels.long()]
        target = torch.cat([torch.isin(own, torch.tensor(numbers)) for numbers in list(REGIONS.values())[1:]], 1)
        scored = torch.where(image > 0, (image - 480) / 150, 0)
        turned = [x.permute(0, 1, 4, 3, 2).contiguous() for x in (scored, target)]
        small = turned[1][..., ::2, ::2, ::2]
        batches.append({"data": torch.cat((turned[0], turned[0]), 1), "target": [turned[1], small]})
    return batches


@pytest.mark.parametrize(
    ("patches", "with_tumor", "batch_dice", "cap"),
    [(2, (0, 1), False, 0.3), (2, (0,), True, None)],  # then the second process has nothing to rate
)
def test_two_processes_train_as_one_and_log_the_same(tmp_path, monkeypatch, patches, with_tumor, batch_dice, cap):
    for name in ("preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    data = tmp_path / "preprocessed" / "Dataset137_Small" / "nnUNetPlans_any"
    data.mkdir(parents=True)
    (data / "a.b2nd").touch()
    batches = make_batches(patches, with_tumor)
    torch.save((data_set(), batches), tmp_path / "given.pt")
    torch.multiprocessing.spawn(work, (str(tmp_path), batch_dice, cap), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in range(RANKS))
    assert first["stood"] == second["stood"] == (2, 2 * STEPS)
    (written,) = (tmp_path / "results").rglob("fold_0")
    assert not [*written.glob("*.part")]

    monkeypatch.setenv("nnUNet_results", str(tmp_path / "one"))
    with small_cpu():
        alone = train(data_set(), batches, slice(None), batch_dice, cap)
    expected = alone.logger.local_logger.my_fantastic_logging
    for name in (*SERIES, "train_losses", "val_losses", "mean_fg_dice"):
        np.testing.assert_array_equal(first["log"][name], second["log"][name], name)
        about = 0.01 if name == "dqe_guard_kept" else 0  # a share of the whole batch's gradient, in one process
        np.testing.assert_allclose(first["log"][name], expected[name], rtol=2e-3, atol=about, err_msg=name)
    assert first["log"]["dqe_rated"] == [len(with_tumor) / patches] * 2
    assert not math.isnan(first["log"]["dqe_target_stars"][0])
    assert first["log"]["dqe_gradient_ratio"][1] > 0
    for name, value in alone.network.state_dict().items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-3, atol=1e-5, msg=name)
