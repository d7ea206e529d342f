"""The command ``python -m dqe_loss.collect``: a page where experts rate, and what their ratings are worth."""

import sys
from collections.abc import Sequence

import tyro

from dqe_loss.collect.arguments import CollectArguments, ImportArguments, ReportArguments
from dqe_loss.command_line import available_cores, run_command
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_output_folder

Arguments = CollectArguments | ImportArguments | ReportArguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes: see `run_command`."""
    return run_command("dqe collect", read_arguments, _run, argv)


def read_arguments(arguments: Sequence[str]) -> Arguments:
    """The options of ``dqe collect`` or of one of its sub-commands.

    Raises:
        SystemExit: if it only asks for help, or an option is unknown.
    """
    first, rest = (arguments[0] if arguments else ""), list(arguments[1:])
    if first == "import":
        return tyro.cli(ImportArguments, prog="dqe collect import", args=rest)
    if first == "report":
        return tyro.cli(ReportArguments, prog="dqe collect report", args=rest)
    return tyro.cli(CollectArguments, prog="dqe collect", args=list(arguments))


def _run(arguments: Arguments) -> None:
    if isinstance(arguments, ImportArguments):
        import_extra("dqe_loss.collect.import_table", "collect").import_table(arguments)
    elif isinstance(arguments, ReportArguments):
        import_extra("dqe_loss.collect.report", "collect").report(arguments)
    else:
        _collect(arguments)


def _collect(arguments: CollectArguments) -> None:
    _check(arguments)
    check_output_folder(arguments.out)
    serve = import_extra("dqe_loss.collect.serve", "collect")
    from dqe_loss.collect.active import priority_order, told_order
    from dqe_loss.collect.begin import study_of
    from dqe_loss.collect.pictures import PICTURES, PictureFolder
    from dqe_loss.collect.study_file import is_begun, read_study, write_study
    from dqe_loss.data.tables.rated import read_rated

    begun = read_study(arguments.out) if is_begun(arguments.out) else None
    study, left_out = study_of(arguments, begun)
    rated = read_rated(arguments.stars, study.design.task) if arguments.stars else None
    if left_out:
        _warn(f"{left_out} segmentations of --data are not in this study; --extend lets them join")
    PictureFolder(arguments.out / PICTURES, study).draw_missing(arguments.workers or available_cores())
    if study != begun:  # only now: an exam that cannot be drawn begins no study, and joins none
        write_study(study, arguments.out)
    exams = len({case.exam for case in study.cases})
    print(f"{arguments.out}: {len(study.cases)} segmentations of {exams} exams, {len(study.raters)} raters")
    if arguments.draw_only:
        return
    reorder = None
    if arguments.stars is not None and rated is not None:
        reorder = priority_order(study, arguments.out, rated, arguments.random_share)
        study = told_order(study, arguments.stars, rated, arguments.random_share)
        write_study(study, arguments.out)
    address = serve.Address(arguments.host, arguments.port, arguments.certificate, arguments.key)
    if address.host not in serve.LOCAL and address.certificate is None:
        _warn(
            "links and answers cross the network unencrypted; give --certificate and --key, or put a proxy with HTTPS "
            "before it"
        )
    serve.serve(study, arguments.out, address, reorder)


def _warn(text: str) -> None:
    print(f"dqe collect: warning: {text}", file=sys.stderr)


def _check(arguments: CollectArguments) -> None:
    """Refuse what cannot work before anything is read."""
    for name, value in (("repeats", arguments.repeats), ("random-share", arguments.random_share)):
        if not 0 <= value <= 1:
            raise ValueError(f"--{name} is a share from 0 to 1, got {value:g}")
    if (arguments.next_by == "disagreement") != (arguments.stars is not None):
        raise ValueError("--next-by disagreement needs --stars, the table of dqe rate for the same data; give both")
    if arguments.next_by == "disagreement" and arguments.mode == "pairs":
        raise ValueError("--next-by disagreement is for stars, not for --mode pairs")
    if (arguments.certificate is None) != (arguments.key is None):
        raise ValueError("HTTPS needs --certificate and --key; give both")
    for path in (arguments.certificate, arguments.key, arguments.instructions):
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: expected a file, found none; check --certificate, --key and --instructions")
    if arguments.seed < 0 or not 0 <= arguments.port < 65536 or (arguments.workers or 1) < 1:
        raise ValueError("expected --seed of 0 or more, --port from 0 to 65535, --workers of 1 or more")
    if arguments.extend and arguments.data is None:
        raise ValueError("--extend needs --data: it says what joins the study")
    if arguments.predictions and arguments.data is None:
        raise ValueError("--predictions needs --data: the exams that they are of")
