"""The command ``python -m dqe_loss.audit``: where a checkpoint can be fooled, on one page."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from dqe_loss import options
from dqe_loss.command_line import check_device, run_command
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_output_folder
from dqe_loss.surrogate.checkpoint import load_surrogate
from dqe_loss.tasks.reading import settle_task

PartName = Literal["absurd", "ladders", "exploitation", "direction", "soft", "invariance"]
ALL_PARTS: tuple[PartName, ...] = ("absurd", "ladders", "exploitation", "direction", "soft", "invariance")
_EXAMS = tyro.conf.arg(help="Exams, as folders or tables of paths, instead of phantoms.")
_THOROUGH = tyro.conf.arg(
    help="Rate the parts absurd and invariance as dqe rate does, with the refiner's survey of the whole head."
)
_LIST = "absurd|ladders|exploitation|direction|soft|invariance"


@dataclass(frozen=True)
class AuditArguments:
    """Say where a checkpoint can be fooled, before it is used as a loss.

    Writes numbers and verdicts (audit.json) and a page with pictures (index.html). Exams are synthetic
    (--phantoms) or real ones with a reference (--exams and --reference). Run it again to continue. On one CPU
    core an exam takes about ten minutes, most of them for exploitation; with a refiner half as
    long again, for its guard is tried on and off.

    Attributes:
        phantoms: Number of synthetic exams. Default: 2, or 0 with --exams.
        parts: Parts of the audit to run.
        fail_on: Exit with code 1 if one of these parts fails; any stands for all.
        attack_steps: Steps of each attack.
    """

    checkpoint: tyro.conf.Positional[options.CheckpointName]
    out: options.OutFolder
    exams: Annotated[options.ExamFolders, _EXAMS] = ()
    reference: options.ReferenceNames = ()
    phantoms: options.OptionalCount = None
    parts: Annotated[tuple[PartName, ...], tyro.conf.arg(metavar=f"{{{_LIST}}} ...", help_behavior_hint="(all)")] = (
        ALL_PARTS
    )
    fail_on: Annotated[
        tuple[PartName | Literal["any"], ...], tyro.conf.arg(metavar=f"{{{_LIST}|any}} ...", help_behavior_hint="")
    ] = ()
    attack_steps: int = 100
    thorough: Annotated[options.Thorough, _THOROUGH] = True
    label_scheme: options.SchemeOption = None
    task: options.TaskOption = None
    device: options.DeviceName = "cpu"
    seed: options.Seed = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if a part named by ``--fail-on`` failed, else see `run_command`."""
    return run_command("dqe audit", AuditArguments, _run, argv)


def _run(arguments: AuditArguments) -> int:
    _check(arguments)
    check_device(arguments.device)
    run = import_extra("dqe_loss.audit.whole_audit", "train")
    from dqe_loss.audit.audited_exam import find_sources, phantom_sources
    from dqe_loss.audit.stars_and_dice import AuditSettings
    from dqe_loss.audit.thresholds import thresholds_of

    surrogate = load_surrogate(arguments.checkpoint)
    task = settle_task(arguments.task, surrogate.config.task, arguments.checkpoint)
    if arguments.exams and not arguments.reference and task.files.several:
        raise ValueError("--exams needs --reference: the masks of an audit are made from the reference of that name")
    sources = find_sources(arguments.exams, arguments.reference, arguments.label_scheme, task)
    phantoms = arguments.phantoms if arguments.phantoms is not None else 0 if arguments.exams else 2
    sources += phantom_sources(phantoms, task=task)
    if len({source.name for source in sources}) < len(sources):
        raise ValueError("--exams has an exam that is named like a phantom; rename its folder, or leave --phantoms out")
    plan = run.AuditPlan(
        arguments.checkpoint,
        sources,
        arguments.parts,
        AuditSettings(arguments.seed, arguments.attack_steps, arguments.thorough),
        task.scheme(arguments.label_scheme),
        arguments.device,
        thresholds_of(task),
    )
    audit = run.run_audit(plan, surrogate, arguments.out)
    print(f"{run.summary_text(audit)}\n\nAll of it: {arguments.out / 'index.html'}")
    failed: list[str] = run.failed_parts(audit)
    counted = [part for part in failed if part in arguments.fail_on or "any" in arguments.fail_on]
    if counted:
        print(f"dqe audit: failed: {', '.join(counted)}", file=sys.stderr)
    return int(bool(counted))


def _check(arguments: AuditArguments) -> None:
    """Refuse what cannot work before anything is read."""
    if arguments.reference and not arguments.exams:
        raise ValueError("--reference needs --exams: the masks of an audit are made from the reference of that name")
    if arguments.phantoms is not None and arguments.phantoms < (0 if arguments.exams else 1):
        raise ValueError(f"--phantoms must be 1 or above (0 with --exams), got {arguments.phantoms}")
    if arguments.attack_steps < 1 or arguments.seed < 0:
        raise ValueError(
            f"--attack-steps must be 1 or above and --seed 0 or above, got {arguments.attack_steps} and "
            f"{arguments.seed}"
        )
    if not arguments.parts:
        raise ValueError(f"--parts must name one or more of {', '.join(ALL_PARTS)}")
    left_out = [part for part in arguments.fail_on if part != "any" and part not in arguments.parts]
    if left_out:
        raise ValueError(f"--fail-on {' '.join(left_out)}: not among --parts, so it would never fail; add it there")
    check_output_folder(arguments.out)
