"""The command ``dqe nnunet``: where nnU-Net finds the trainers, and whether they fit a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dqe_loss.command_line import run_command
from dqe_loss.extras import import_extra


@dataclass(frozen=True)
class PathArguments:
    """Print the folder that nnU-Net looks for the trainers in: export nnUNet_extTrainer=$(dqe nnunet path)."""


@dataclass(frozen=True)
class CheckArguments:
    """Say whether labels, channels, plans and configurations fit, and what stars the targets themselves get.

    Run it after nnUNetv2_plan_and_preprocess, with nnUNet_raw and nnUNet_preprocessed set. Exit code: 0 if all fits; 1
    if something does not; 2 after an error.

    Attributes:
        data_set: Name or number of the data set, such as 137.
        configuration: Configurations that have to fit, such as 3d_fullres. Default: any of the plans.
        plans: Name of the plans.
        trainer: The trainer of -tr: what it says of channels, labels and small patches holds.
        checkpoint: The surrogate, whose task says which channels and labels fit. Default: the trainer's dqe_checkpoint.
        patches: Training patches whose targets are rated; 0 for none.
        fold: The fold that you will train, a number or all: can nnU-Net make it of the preprocessed cases?
    """

    data_set: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DATASET")]]
    configuration: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")] = ()
    plans: Annotated[str, tyro.conf.arg(metavar="NAME")] = "nnUNetPlans"
    patches: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    fold: Annotated[str, tyro.conf.arg(metavar="N|all")] = "0"
    trainer: Annotated[str, tyro.conf.arg(metavar="NAME")] = "nnUNetTrainerDQE"
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="hardened|brainlesion|FILE", help_behavior_hint="")] = None


Path_ = Annotated[PathArguments, tyro.conf.subcommand("path")]
Check_ = Annotated[CheckArguments, tyro.conf.subcommand("check")]


@dataclass(frozen=True)
class NnunetArguments:
    """Print where the trainers for nnU-Net are, or check whether a data set fits them.

    Attributes:
        action: What to do.
    """

    action: tyro.conf.OmitSubcommandPrefixes[Path_ | Check_]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if something does not fit, else see `run_command`."""
    return run_command("dqe nnunet", NnunetArguments, _run, argv)


def _run(arguments: NnunetArguments) -> int:
    action = arguments.action
    if isinstance(action, PathArguments):
        print(Path(__file__).parent / "trainers")
        return 0
    if action.patches < 0:
        raise ValueError(f"--patches must be 0 or above, got {action.patches}")
    check = import_extra("dqe_loss.integrations.nnunet.check", "nnunet")
    fits = True
    findings = check.check_data_set(
        action.data_set,
        action.plans,
        action.configuration,
        action.patches,
        action.trainer,
        action.checkpoint,
        action.fold,
    )
    for finding in findings:
        print(f"{finding.subject}: {'' if finding.fits else 'PROBLEM, '}{finding.text}", flush=True)
        fits = fits and finding.fits
    return int(not fits)
