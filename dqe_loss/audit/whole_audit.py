"""A whole audit: from a checkpoint and exams to verdicts, files and pictures."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from dqe_loss.audit.audited_exam import ExamSource, find_stranger, read_audited_exam
from dqe_loss.audit.exploitation import guards_of
from dqe_loss.audit.figures import draw_figures
from dqe_loss.audit.finished_parts import FinishedParts
from dqe_loss.audit.page import render_page
from dqe_loss.audit.parts import PARTS
from dqe_loss.audit.pictures import draw_panels
from dqe_loss.audit.stars_and_dice import SURVEYED, AuditSettings, Measured, Numbers
from dqe_loss.audit.thresholds import Thresholds
from dqe_loss.audit.verdict import check_as_dict, judge
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.outputs import encode, write_together
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.describe import describe_ratings, star_unit
from dqe_loss.surrogate.network import Surrogate, surrogate_on
from dqe_loss.task import GLIOMA, LabelScheme
from dqe_loss.tasks.reading import error_values
from dqe_loss.viz.plots import save_figure

FORMAT = 2
"""Of state and ``audit.json``. 1, which did not say so, had one attack where a refiner's guard now makes two."""
LIBRARIES = ("dqe_loss", "torch", "monai", "numpy", "scipy", "matplotlib")


@dataclass(frozen=True)
class AuditPlan:
    """What is audited, and how.

    Attributes:
        checkpoint: name of the checkpoint.
        sources: the exams.
        parts: names of the parts, in any order.
        settings: seed and steps.
        scheme: scheme of the references.
        device: where the network runs.
        thresholds: where checks pass.
    """

    checkpoint: str
    sources: Sequence[ExamSource]
    parts: Sequence[str]
    settings: AuditSettings
    scheme: LabelScheme = field(default_factory=GLIOMA.scheme)
    device: str = "cpu"
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def ordered_parts(self) -> list[str]:
        """The parts in the order of `PARTS`."""
        return [name for name in PARTS if name in self.parts]

    def record(self, checkpoint: str) -> Numbers:
        """What a continuation must share, JSON-ready; the checkpoint is told by its fingerprint."""
        told: Numbers = {"format": FORMAT, "checkpoint": checkpoint, "seed": self.settings.seed}
        told["label_scheme"] = self.scheme.name
        task = self.sources[0].task
        return told if task == GLIOMA else told | {"task": error_values(task, self.scheme)}

    def inputs(self, part: str, source: ExamSource) -> Numbers:
        """What a result depends on besides checkpoint and seed."""
        file = None if source.paths is None else str(source.paths.segmentations[0].resolve())
        found: Numbers = {"reference": file, "other": find_stranger(source, self.sources)}
        found |= {"attack_steps": self.settings.attack_steps} if PARTS[part].uses_steps else {}
        return found | ({"thorough": self.settings.thorough} if part in SURVEYED else {})


def run_audit(plan: AuditPlan, surrogate: Surrogate, folder: Path) -> Numbers:
    """Measure what the folder does not hold yet, judge all of it, and write everything.

    Args:
        plan: what to do.
        surrogate: the network; a copy of it is audited if it is on another device than the plan's.
        folder: for ``state.json`` and ``pictures`` (work in progress), ``audit.json`` and ``index.html``.

    Returns:
        The content of ``audit.json``.

    Raises:
        ValueError: an exam cannot be used, or the folder holds another audit.
        OSError: a file cannot be written.
    """
    surrogate = surrogate_on(surrogate, plan.device)
    state = FinishedParts.open(folder, plan.record(fingerprint(surrogate)))
    _measure(plan, surrogate, state)
    audit = _describe(plan, surrogate, state)
    figures = {name: save_figure(figure, "svg") for name, figure in draw_figures(audit).items()}
    exams = [source.name for source in plan.sources]
    paths = {(part, exam): state.picture(part, exam) for part in plan.ordered_parts for exam in exams}
    pictures = {key: path.read_bytes() for key, path in paths.items() if state.results[key[0]][key[1]]["pictured"]}
    content = json.dumps(audit, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    page = render_page(audit, figures, pictures)
    write_together({folder / "audit.json": encode(content), folder / "index.html": encode(page)})
    return audit


def failed_parts(audit: Numbers) -> list[str]:
    """Names of the parts that did not pass."""
    return [name for name, part in audit["parts"].items() if not part["passed"]]


def summary_text(audit: Numbers) -> str:
    """What the command prints: a line for each check."""
    lines = [audit["description"], ""]
    for part in audit["parts"].values():
        lines.append(f"{'passed' if part['passed'] else 'FAILED'}  {part['title']}")
        for check in part["checks"]:
            measured = "–" if check["measured"] is None else f"{check['measured']:.2f}"
            mark = " " if check["passed"] else "x"
            off = "" if check["unguarded"] is None else f" (off: {check['unguarded']:.2f})"
            lines.append(f"   {mark} {measured:>6} {check['rule']:>2} {check['limit']:g}  {check['what']}{off}")
    return "\n".join(lines)


def _measure(plan: AuditPlan, surrogate: Surrogate, state: FinishedParts) -> None:
    """Do what is missing, exam by exam, with a progress bar."""
    missing = [
        (source, part)
        for source in plan.sources
        for part in plan.ordered_parts
        if state.find(part, source.name, plan.inputs(part, source)) is None
    ]
    case, survey = None, LabelSurvey(plan.scheme)
    guards = len(guards_of(surrogate.config))
    total = sum(PARTS[part].count(plan.settings) * (guards if PARTS[part].uses_steps else 1) for _, part in missing)
    with tqdm(total=total, unit="", leave=False, disable=None, smoothing=0.02) as bar:
        for source, part in missing:
            if case is None or case.name != source.name:
                bar.set_description(source.name)
                case = read_audited_exam(source, plan.sources, plan.device)
                survey.add(case.name, case.present)
            bar.set_description(f"{source.name}, {part}")
            measured = PARTS[part].measure(case, surrogate, plan.settings, _ticker(bar))
            state.add(part, source.name, plan.inputs(part, source), measured.numbers, _picture(measured))


def _ticker(bar: "tqdm[None]") -> Callable[[int], None]:
    def tick(steps: int) -> None:
        bar.update(steps)

    return tick


def _picture(measured: Measured) -> bytes | None:
    return save_figure(draw_panels(measured.panels), "png") if measured.panels else None


def _describe(plan: AuditPlan, surrogate: Surrogate, state: FinishedParts) -> Numbers:
    """The content of ``audit.json``."""
    parts: dict[str, Numbers] = {}
    for name in plan.ordered_parts:
        results: Mapping[str, Numbers] = {s.name: state.results[name][s.name]["numbers"] for s in plan.sources}
        checks = [check_as_dict(check) for check in judge(name, results, plan.thresholds)]
        passed = all(check["passed"] for check in checks)
        parts[name] = {"title": PARTS[name].title, "passed": passed, "checks": checks, "exams": results}
    config = surrogate.config
    exams = [
        {"name": s.name, "kind": "phantom" if s.paths is None else "exam"}
        | ({} if s.paths is None else {"reference": s.paths.segmentations[0].name})
        for s in plan.sources
    ]
    return {
        "format": FORMAT,
        "checkpoint": plan.checkpoint,
        "fingerprint": state.settings["checkpoint"],
        "description": describe_ratings(config, plan.checkpoint),
        "kind_of_ratings": config.kind_of_ratings,
        "unit": star_unit(config),
        "scale": list(config.stars),
        "config": config.to_dict(),
        "exams": exams,
        "settings": asdict(plan.settings) | {"label_scheme": plan.scheme.name, "device": plan.device},
        "thresholds": {k: v for k, v in asdict(plan.thresholds).items() if k not in ("regions", "order")},
        "passed": all(part["passed"] for part in parts.values()),
        "parts": parts,
        "versions": {library: version(library) for library in LIBRARIES},
    }
