"""A training step on two processes: the surrogate is neither synchronized nor saved (contract C8)."""

from pathlib import Path

import pytest
import torch
from helpers import make_exam, small_surrogate
from process_group import RANKS, process_group
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dqe_loss import DQELoss, regions_from_labels


class Step(nn.Module):
    """A model that holds its criterion, as Lightning modules do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv3d(4, 3, 3, padding=1)
        self.criterion = nn.BCEWithLogitsLoss() + 0.1 * DQELoss(small_surrogate(), on_small="pad")

    def forward(self, image, target):
        return self.criterion(self.net(image / 500 - 1), target, image=image)


def data(rank):
    """Each rank sees its own exam."""
    image, labels = make_exam((24, 22, 20), seeds=(rank,))
    return image, regions_from_labels(labels).float()


def work(rank: int, folder: str) -> None:
    with process_group(rank, folder):
        model = DistributedDataParallel(Step())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        frozen = model.module.criterion.terms[1].surrogate
        before = {name: value.clone() for name, value in frozen.state_dict().items()}
        loss = model(*data(rank))
        loss.backward()
        optimizer.step()
        torch.save(
            {
                "weights": model.state_dict(),
                "parameters": [name for name, _ in model.named_parameters()],
                "buffers": [name for name, _ in model.named_buffers()],
                "loss": loss.item(),
                "log": model.module.criterion.log,
                "untouched": all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items()),
            },
            Path(folder) / f"{rank}.pt",
        )


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
def test_two_processes_agree_and_equal_the_average_of_one(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    names = ["module.net.weight", "module.net.bias"]
    assert list(first["weights"]) == first["parameters"] == names
    assert first["buffers"] == []
    assert first["untouched"]
    assert second["untouched"]
    assert first["loss"] != second["loss"]
    assert {"DQELoss", "gradient_ratio", "guard_kept"} <= set(first["log"])

    model = Step()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for rank in range(RANKS):
        (model(*data(rank)) / RANKS).backward()
    optimizer.step()
    for name in names:
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        expected = model.state_dict()[name.removeprefix("module.")]
        torch.testing.assert_close(first["weights"][name], expected, rtol=1e-5, atol=1e-7)
