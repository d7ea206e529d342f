"""The command ``dqe task``: look at a task, or make one from nnU-Net's ``dataset.json``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from dqe_loss.command_line import run_command
from dqe_loss.options import OptionalFile, OptionalName
from dqe_loss.outputs import check_outputs, encode, write_together
from dqe_loss.tasks.definition import Task
from dqe_loss.tasks.from_nnunet import convert_nnunet
from dqe_loss.tasks.reading import find_task

MAKE = "from-nnunet"


@dataclass(frozen=True)
class TaskArguments:
    """Show a task, check its file, or make one from nnU-Net's dataset.json.

    dqe task hippocampus.yaml checks a file and says what is rated; dqe task from-nnunet dataset.json prints the task of
    an nnU-Net data set, to be completed by hand: size of errors and scale of stars are not in that file; field of view
    and size of voxels are those of the images in imagesTr beside it, if there are any.

    Attributes:
        words: A task (a name or a file), or from-nnunet and a dataset.json.
        out: File to write the task of from-nnunet to, .yaml or .json, instead of printing it.
        name: What to call that task. Default: the data set's name.
    """

    words: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME|FILE|from-nnunet dataset.json")]
    out: OptionalFile = None
    name: OptionalName = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes: see `run_command`."""
    return run_command("dqe task", TaskArguments, _run, argv)


def _run(arguments: TaskArguments) -> None:
    words = arguments.words
    if len(words) == 2 and words[0] == MAKE:
        task, notes = convert_nnunet(Path(words[1]), arguments.name)
        for note in notes:
            print(f"dqe task: {note}", file=sys.stderr)
        if arguments.out is None:
            print(task_text(task), end="")
            return
        check_outputs([arguments.out])
        write_together({arguments.out: encode(task_text(task, arguments.out.suffix.lower()))})
        print(f"{arguments.out}: {describe_task(task)}")
        return
    if len(words) != 1 or words[0] == MAKE or arguments.out or arguments.name:
        raise ValueError("expected a task (a name or a file), or from-nnunet dataset.json [--out FILE] [--name NAME]")
    print(describe_task(find_task(words[0])))


def task_text(task: Task, ending: str = ".yaml") -> str:
    """A task as the content of a file, without what is as everywhere.

    Raises:
        ValueError: if the file is to end otherwise than in ``.yaml``, ``.yml`` or ``.json``.
    """
    plain: dict[str, Any] = json.loads(json.dumps(asdict(task)))
    default = json.loads(json.dumps(asdict(Task("name", ("a",), ("b",), ("b",)))))
    kept = {one.name: plain[one.name] for one in fields(Task) if plain[one.name] != default[one.name]}
    kept["field_of_view"] = plain["field_of_view"]
    kept["spacing"] = plain["spacing"]
    if "files" in kept:
        kept["files"] = {name: value for name, value in kept["files"].items() if value}
    kept["regions"] = kept.pop("parts")
    kept["centers"] = plain["centers"]
    if list(task.schemes) == ["labels"]:
        del kept["schemes"]
        labels = {k: v[0] if len(v) == 1 else v for k, v in plain["schemes"]["labels"]["labels"].items()}
        kept = {"name": kept.pop("name"), "modalities": kept.pop("modalities"), "labels": labels, **kept}
    kept.pop("tissues", None)
    if ending == ".json":
        return json.dumps(kept, indent=2) + "\n"
    if ending not in (".yaml", ".yml"):
        raise ValueError(f"expected a file that ends in .yaml or .json, got one that ends in {ending or 'nothing'}")
    return "".join(
        f"{key}: {_flow(value)}\n" if key != "regions" else _block(key, value) for key, value in kept.items()
    )


def describe_task(task: Task) -> str:
    """What a task rates, in a few lines."""
    regions = "; ".join(f"{name}: {', '.join(task.parts[name])}" for name in task.regions)
    spacing = " x ".join(f"{mm:g}" for mm in task.spacing)
    centers = " or else ".join(task.centers)
    rated = (
        "2D images" if task.planar else f"{', '.join(task.views)} planes of volumes, through the center of {centers}"
    )
    return (
        f"task {task.name}: {', '.join(task.modalities)}; voxels of {spacing} mm\n"
        f"rated: {rated}; field of view {task.field_of_view[0]} x {task.field_of_view[1]} voxels\n"
        f"regions: {regions}\n"
        + "\n".join(f"label scheme {name}: {scheme}" for name, scheme in task.label_schemes.items())
    )


def _block(key: str, values: dict[str, Any]) -> str:
    return f"{key}:\n" + "".join(f"  {name}: {_flow(value)}\n" for name, value in values.items())


def _flow(value: Any) -> str:
    """A value as YAML on one line; JSON is YAML."""
    return value if isinstance(value, str) and value.replace("_", "").isalnum() else json.dumps(value)
