"""Write every figure of README and pages from what the benchmarks stored: ``python docs/generate``.

A figure stands between two comments, which no reader of a page sees::

    Stars follow mean Dice by r = <!--=hardening.r-->0.77<!--/-->.

A table does, too, its comments in lines of their own. A new figure may be left empty: ``<!--=hardening.r--><!--/-->``.
The name says where the figure comes from: the function
``hardening`` in this folder, and the key ``r`` of what it returns. Nobody types a figure that a command can write.

``python docs/generate --check`` writes nothing, and ends with 1 if a page does not say what is stored.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import attacks
import audits
import benefit
import benefit_gliomas
import exam_by_exam
import gates
import hardening
import safety
import saliency
import speed
import tasks
import use
from stored import ROOT, Figures

SOURCES: dict[str, Callable[[], Figures]] = {
    function.__name__: function
    for function in (
        hardening.hardening,
        hardening.shipped,
        exam_by_exam.exams,
        gates.gates,
        attacks.attacks,
        safety.safety,
        audits.audits,
        safety.real_exams,
        use.patches,
        use.nnunet,
        use.nnunet_real,
        use.curation,
        use.federated,
        use.drift,
        use.networks,
        saliency.saliency,
        use.presets,
        use.latent_targets,
        speed.rating,
        speed.loss,
        speed.training,
        speed.install,
        speed.cases,
        speed.collect,
        speed.many,
        speed.gpu,
        tasks.hippocampus,
        tasks.hippocampus_training,
        benefit.benefit,
        benefit_gliomas.benefit_gliomas,
        benefit_gliomas.benefit_gliomas_head,
    )
}
_FIGURE = re.compile(r"<!--=(\w+)\.(\w+)-->(.*?)<!--/-->", re.DOTALL)
_START_OF_LINE = re.compile(r"^\s*(?:[-*]|\d+\.)?\s*\Z", re.MULTILINE)


def pages() -> Iterator[Path]:
    """Every file that may hold figures."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def generate(text: str, name: str) -> str:
    """A page with its figures as they are stored.

    Args:
        text: the page, in Markdown.
        name: what errors call it.

    Raises:
        ValueError: a figure is unknown; or a number begins a line, which would hide the rest of that line.
    """

    def write(found: re.Match[str]) -> str:
        source, key = found[1], found[2]
        figures = _figures(source) if source in SOURCES else {}
        if key not in figures:
            known = ", ".join(figures or SOURCES)
            raise ValueError(f"{name}: expected a figure that is known, found {source}.{key}; there are {known}")
        value = figures[key]
        if "\n" in value:
            value = f"\n\n{value}\n\n"
        elif _START_OF_LINE.search(text[: found.start()].rpartition("\n")[2]):
            raise ValueError(f"{name}: the figure {source}.{key} begins a line; let a word begin it")
        return f"<!--={source}.{key}-->{value}<!--/-->"

    return _FIGURE.sub(write, text)


@cache
def _figures(source: str) -> Figures:
    """All figures of one source."""
    return SOURCES[source]()


def main(arguments: list[str]) -> int:
    """Write or check all pages; returns the exit code."""
    check = "--check" in arguments
    stale = {}
    for page in pages():  # all of them before any is written
        text = page.read_text(encoding="utf-8")
        new = generate(text, str(page.relative_to(ROOT)))
        if new != text:
            stale[page] = new
    for page, text in stale.items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: {'out of date' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
