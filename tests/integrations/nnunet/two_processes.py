"""nnU-Net's own DDP branch on a CPU: the trainer that a process of ``-num_gpus 2`` makes, but for CUDA."""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from helpers import small_surrogate
from nnunet_plans import make_plans
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from process_group import process_group
from torch.nn.parallel import DistributedDataParallel

from dqe_loss.integrations.nnunet.trainer import nnUNetTrainerDQE
from dqe_loss.task import GLIOMA

SIDE = 32
STEPS = 2
"""Of an epoch; the first epoch is the warm-up."""


class OnCPU(nnUNetTrainerDQE):
    """nnU-Net takes CUDA for granted where there are several processes."""

    dqe_checkpoint = small_surrogate()
    dqe_warmup_epochs = 1

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.device, self.grad_scaler = torch.device("cpu"), None
        self.num_iterations_per_epoch, self.num_epochs, self.save_every = STEPS, 3, 1
        self.logger.plot_progress_png = lambda folder: None  # takes seconds


@contextmanager
def small_cpu():
    """Small crops can be rated, and a network on the CPU is wrapped without a device."""
    wrap = patch(f"{nnUNetTrainer.__module__}.DDP", lambda network, device_ids: DistributedDataParallel(network))
    with wrap, patch.dict(vars(GLIOMA), {"smallest_crop": SIDE}):
        yield


def train(dataset_json, batches, part, batch_dice, cap):
    """Two epochs of training and validation steps.

    Args:
        dataset_json: content of the file.
        batches: of a whole batch each.
        part: which patches of a batch are this process's.
        batch_dice: as the plans say it.
        cap: ``max_gradient_ratio`` of the term.

    Returns:
        The trainer.
    """
    plans = make_plans(SIDE)
    plans["configurations"]["3d_fullres"] |= {"batch_size": len(batches[0]["data"]), "batch_dice": batch_dice}
    torch.manual_seed(0)
    trainer = type("Capped", (OnCPU,), {"dqe_options": {"max_gradient_ratio": cap}})(
        plans, "3d_fullres", 0, dataset_json
    )
    trainer.initialize()
    own = [{"data": b["data"][part], "target": [t[part] for t in b["target"]], "keys": []} for b in batches]
    for epoch in range(2):
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(own[STEPS * epoch + i]) for i in range(STEPS)])
        trainer.on_validation_epoch_start()
        with torch.no_grad():
            trainer.on_validation_epoch_end([trainer.validation_step(own[i]) for i in range(STEPS)])
        trainer.on_epoch_end()
    return trainer


def work(rank, folder, batch_dice, cap):
    """What one of the processes does: its part is the first patches, or those that are left."""
    with process_group(rank, folder), small_cpu():
        dataset_json, batches = torch.load(f"{folder}/given.pt", weights_only=False)
        first = (len(batches[0]["data"]) + 1) // 2
        trainer = train(dataset_json, batches, slice(first) if rank == 0 else slice(first, None), batch_dice, cap)
        assert trainer.is_ddp
        assert trainer.batch_size == (first if rank == 0 else len(batches[0]["data"]) - first)
        state = trainer.network.module.state_dict()
        log = trainer.logger.local_logger.my_fantastic_logging
        torch.distributed.barrier()  # the first writes the checkpoint
        again = type(trainer)(trainer.plans_manager.plans | {"continue_training": True}, "3d_fullres", 0, dataset_json)
        again.load_checkpoint(f"{trainer.output_folder}/checkpoint_latest.pth")
        stood = (again.current_epoch, again.criterion.steps_done)
        torch.save({"weights": state, "log": log, "stood": stood}, f"{folder}/rank{rank}.pt")
