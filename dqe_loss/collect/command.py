"""The command ``python -m dqe_loss.collect``: a page where experts rate, and what their ratings are worth."""

import sys
import zlib
from collections.abc import Sequence

import numpy as np
import tyro

from dqe_loss.collect.arguments import CollectArguments, ImportArguments, ReportArguments
from dqe_loss.command_line import available_cores, run_command
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_output_folder
from dqe_loss.task import GLIOMA

Arguments = CollectArguments | ImportArguments | ReportArguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes as of `run_command`."""
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
    serve = import_extra("dqe_loss.collect.serve", "collect")
    from dqe_loss.collect.active import by_priority, priorities, read_stars
    from dqe_loss.collect.begin import begin_study, go_on, is_begun
    from dqe_loss.collect.order import Trial
    from dqe_loss.collect.pictures import PICTURES, PictureFolder
    from dqe_loss.collect.study import StudyDesign, cases_of
    from dqe_loss.collect.table import read_answers
    from dqe_loss.data.discovery.data_set import find_data_set

    folder, scheme = arguments.out, arguments.label_scheme or GLIOMA.default_scheme
    begun = is_begun(folder)
    if not begun and arguments.data is None:
        raise ValueError(f"{folder}: holds no study yet; begin one with --data FOLDER and --raters NAME ...")
    check_output_folder(folder)
    design, cases, training = None, [], []
    if arguments.data is not None:
        text = arguments.instructions.read_text(encoding="utf-8-sig") if arguments.instructions else ""
        design = StudyDesign(
            arguments.mode,
            arguments.seed,
            arguments.repeats,
            scheme,
            arguments.kind,
            arguments.title,
            text,
            arguments.tags,
        )
        cases = cases_of(find_data_set(arguments.data, scheme, arguments.predictions))
        training = cases_of(find_data_set(arguments.training, scheme)) if arguments.training else []
    rated = read_stars(arguments.stars) if arguments.stars else None
    if begun:
        study, left_out = go_on(folder, design, cases, arguments.raters, arguments.extend)
        if left_out:
            print(
                f"dqe collect: warning: {left_out} segmentations of --data are not in this study; "
                "--extend lets them join",
                file=sys.stderr,
            )
    else:
        missing = [case for case in (*cases, *training) if case.stamp.startswith("missing")]
        if missing:
            raise ValueError(f"{missing[0].mask}: this file, or an image of its exam, is not there; check --data")
        study = begin_study(folder, design or StudyDesign(), cases, training, arguments.raters)
    PictureFolder(folder / PICTURES, study).draw_missing(arguments.workers or available_cores())
    exams = len({case.exam for case in study.cases})
    print(f"{folder}: {len(study.cases)} segmentations of {exams} exams, {len(study.raters)} raters")
    if arguments.draw_only:
        return
    reorder = None
    if rated is not None:
        priority = priorities(study, rated, read_answers(study, folder))

        def reorder(rater: str, trials: list[Trial]) -> list[Trial]:
            rng = np.random.default_rng([study.design.seed, zlib.crc32(rater.encode()), 0xAC])
            return by_priority(trials, priority, arguments.random_share, rng)

    address = serve.Address(arguments.host, arguments.port, arguments.certificate, arguments.key)
    if address.host not in serve.LOCAL and address.certificate is None:
        print(
            "dqe collect: warning: links and answers cross the network unencrypted; give --certificate and --key, or "
            "put a proxy with HTTPS before it",
            file=sys.stderr,
        )
    serve.serve(study, folder, address, reorder)


def _check(arguments: CollectArguments) -> None:
    """Refuse what cannot work before anything is read."""
    for name, value, high in (("repeats", arguments.repeats, 1), ("random-share", arguments.random_share, 1)):
        if not 0 <= value <= high:
            raise ValueError(f"--{name} is a share from 0 to {high}, got {value:g}")
    if (arguments.next_by == "disagreement") != (arguments.stars is not None):
        raise ValueError("--next-by disagreement needs --stars, the table of dqe rate for the same data; give both")
    if arguments.next_by == "disagreement" and arguments.mode == "pairs":
        raise ValueError("--next-by disagreement is for stars, not for --mode pairs")
    if (arguments.certificate is None) != (arguments.key is None):
        raise ValueError("HTTPS needs --certificate and --key; give both")
    if arguments.seed < 0 or not 0 <= arguments.port < 65536 or (arguments.workers or 1) < 1:
        raise ValueError("expected --seed of 0 or more, --port from 0 to 65535, --workers of 1 or more")
    if arguments.extend and arguments.data is None:
        raise ValueError("--extend needs --data: it says what joins the study")
