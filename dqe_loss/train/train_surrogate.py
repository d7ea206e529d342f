"""A whole training: from a configuration to checkpoints with their model cards."""

import sys
from collections.abc import Mapping, Sequence

import torch

from dqe_loss.data.split import write_split
from dqe_loss.outputs import write_together
from dqe_loss.processes import StopRequest, processes
from dqe_loss.surrogate.checkpoint import assemble, load_surrogate
from dqe_loss.train.config import TrainConfig, to_yaml
from dqe_loss.train.dataset import RatedPlane
from dqe_loss.train.held_out_agreement import measure
from dqe_loss.train.network_and_planes import prepare_training
from dqe_loss.train.run_folder import Recorder, RunFolder
from dqe_loss.train.trainer import Trainer


def train_surrogate(config: TrainConfig) -> int:
    """Train a surrogate and write it, with all that belongs to the run, into the run's folder.

    Args:
        config: the training.

    Returns:
        0, or 128 + signal if a signal ended it; the state is saved then.

    Raises:
        ValueError: if the configuration, the ratings or an exam do not fit; before any training.
        OSError: if the folder cannot be written; the last saved state stays.
    """
    folder = RunFolder(config.out)
    if not config.ratings:
        raise ValueError("expected at least one table of ratings; give it with --ratings")
    folder.begin(config.resume)
    with processes(config.device) as where:
        former = folder.split if config.resume and folder.split.is_file() else None
        ready = prepare_training(config, where, former)
        if where.first:
            write_split(ready.split, folder.split)
            write_together({folder.config: to_yaml(config).encode()})
            counts = ", ".join(f"{len(planes)} {part}" for part, planes in ready.planes.items())
            print(f"planes: {counts}; {ready.kind} ratings; {where.world} process(es) on {where.device}", flush=True)
        network = ready.network.to(where.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        surrogate = assemble(ready.surrogate, ready.network.state_dict() | ready.refiner).to(where.device)
        recorder = Recorder(config, folder)
        trainer = Trainer(
            config,
            surrogate,
            network,
            ready.planes["train"],
            ready.planes["validation"],
            where,
            folder.state,
            recorder.record,
        )
        with StopRequest().listening() as stop:  # before and after it there is nothing to save
            done = trainer.run(ready.fingerprint, stop)
        if not done:
            if where.first:
                print(
                    f"stopped by signal {stop.signal}; the state is saved, --resume continues from it", file=sys.stderr
                )
            return 128 + (stop.signal or 0)
        if where.first:
            _finish(config, folder, trainer, recorder, ready.planes)
        where.wait()
    return 0


def _finish(
    config: TrainConfig,
    folder: RunFolder,
    trainer: Trainer,
    recorder: Recorder,
    planes: Mapping[str, Sequence[RatedPlane]],
) -> None:
    """Measure the last and the best network on the exams that were held out, and write them with their cards."""
    held_out = {part: planes[part] for part in ("validation", "test")}
    checkpoints = {folder.last: (trainer.current(), f"epoch {config.epochs} (the last)")}
    if trainer.progress.best < float("inf"):
        maes = [row["validation_mae"] for row in trainer.progress.rows]
        best = load_surrogate(folder.best).to(trainer.surrogate.device)
        checkpoints[folder.best] = (best, f"epoch {maes.index(min(maes)) + 1} (the lowest validation MAE)")
    for path, (surrogate, title) in checkpoints.items():
        metrics = measure(surrogate, held_out)
        recorder.save(surrogate, path, f"{config.out.name}, {title}", metrics)
        print(f"{path}: {title}")
        for part, values in metrics.items():
            print(
                f"  {part}: MAE {values['mae']:.2f}, RMSE {values['rmse']:.2f}, r {values['pearson']:.2f} "
                f"({values['segmentations']:.0f} segmentations, mean of views)"
            )
