"""The command ``python -m dqe_loss.rate``: stars for the segmentations of one exam, or of a whole data set."""

from collections.abc import Sequence

from dqe_loss.command_line import available_cores, check_device, run_command
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_outputs
from dqe_loss.processes import launched, own_device
from dqe_loss.rate.arguments import RateArguments, RateOptions, asked_surrogate, in_engine
from dqe_loss.rate.one_exam import rate_one_exam
from dqe_loss.surrogate.describe import describe_dice, describe_ratings
from dqe_loss.task import GLIOMA

TABLE_FORMATS = (".csv", ".parquet")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if a segmentation of a data set could not be rated, else see `run_command`."""
    return run_command("dqe rate", RateArguments, _run, argv)


def _run(arguments: RateOptions) -> int:
    return _rate_data(arguments) if arguments.data or arguments.out else rate_one_exam(arguments)


def _rate_data(arguments: RateOptions) -> int:
    """Rate a data set, or this process's share of it; returns the exit code."""
    single = ("exam", *GLIOMA.modalities, "image", "segmentation", "json", "csv", "figure", "explain", "reference")
    if given := [name for name in single if getattr(arguments, name)]:
        raise ValueError(f"--{given[0]} is for a single exam, --data and --out for a data set; leave one out")
    if not (arguments.data and arguments.out):
        raise ValueError(f"expected --data and --out, found only --{'data' if arguments.data else 'out'}")
    if arguments.out.suffix not in TABLE_FORMATS:
        raise ValueError(f"{arguments.out}: expected a table that ends in {' or '.join(TABLE_FORMATS)}")
    workers = min(available_cores(), 8) if arguments.workers is None else arguments.workers
    if workers < 1:
        raise ValueError(f"--workers must be 1 or more, got {workers}")
    check_outputs([arguments.out])
    rank, world = launched()
    device = own_device(arguments.device)
    check_device(device)
    run = import_extra("dqe_loss.rate.rate_data_set", "rate")
    from dqe_loss.data.discovery.nnunet import is_nnunet
    from dqe_loss.data.discovery.nnunet_labels import settle_scheme
    from dqe_loss.rate.plan import RatePlan

    surrogate, task = asked_surrogate(arguments, device)
    scheme = task.scheme(arguments.label_scheme).name
    if is_nnunet(arguments.data):
        said, scheme = scheme, settle_scheme(arguments.data, arguments.label_scheme, task)
        if scheme != said:
            told = task.scheme(scheme)
            print(f"{arguments.data / 'dataset.json'}: labels as --label-scheme {scheme} ({told})")
    plan = RatePlan(
        arguments.data,
        arguments.out,
        arguments.checkpoint,
        scheme,
        arguments.predictions,
        arguments.channels,
        workers,
        arguments.retry,
        arguments.center,
        arguments.thorough,
        rank,
        world,
        task,
        arguments.best,
    )
    rater = in_engine(surrogate, arguments.engine)
    config = surrogate.config
    description = [describe_ratings(config, arguments.checkpoint), *describe_dice(config, plan.told(config))]
    code: int = run.tell(run.rate_data_set(plan, surrogate, rater), plan, "\n".join(description))
    return code
