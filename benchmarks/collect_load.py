"""How long raters wait: 20 at once with 500 cases each, without a pause between their answers.

    python benchmarks/collect_load.py --out benchmarks/results/collect_load.json

The real command serves a study whose pictures are drawn; clients in another process answer each case as soon as they
have it and fetch its pictures. Measured are the answers (from sending one to having the next case, with the journal on
disk between) and the pictures. Real raters look at a case for seconds, so that their server is idle most of the time.

The pictures are those of twenty masks of one phantom, copied for all cases: of true size, drawn once.
"""

import asyncio
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from _options import ResultFile
from _report import machine, write_json

from dqe_loss.collect.begin import begin_study
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.study import StudyDesign, cases_of
from dqe_loss.collect.study_file import write_study
from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.nifti import read_volume
from dqe_loss.data.phantom.files import phantom_paths, write_phantom
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.outputs import check_outputs, write_together
from dqe_loss.task import GLIOMA
from dqe_loss.tasks.scale import levels_of

MASKS = 20
_LINK = re.compile(r"\S+ \(.* done\): http://127\.0\.0\.1:(\d+)(/r/\S+)")


@dataclass(frozen=True)
class Arguments:
    """Measure how long raters wait."""

    out: ResultFile
    raters: Annotated[int, tyro.conf.arg(help="Raters at once.")] = 20
    cases: Annotated[int, tyro.conf.arg(help="Cases of each; a multiple of 20.")] = 500
    pause: Annotated[float, tyro.conf.arg(help="Seconds that a rater looks at a case.")] = 0.0


def write_data(folder: Path) -> None:
    """One phantom with twenty masks, its reference moved about."""
    write_phantom(0, folder)
    paths = phantom_paths(0, folder)
    reference, affine = read_volume(paths.segmentations[0])
    masks = {
        paths.folder / f"{paths.name}-seg-{i}.nii.gz": nifti_bytes(np.roll(reference, (i, -i), (0, 1)), affine)
        for i in range(1, MASKS)
    }
    write_together(masks)


def begin(folder: Path, arguments: Arguments) -> None:
    """A study of which every twenty cases are one exam, with pictures of the true size."""
    write_data(folder / "data")
    design = StudyDesign(repeats=0.0, kind="simulated")
    cases = cases_of(find_data_set(folder / "data", None))
    raters = [f"rater-{i}" for i in range(arguments.raters)]
    drawn = begin_study(design, cases, [], raters)
    pictures = PictureFolder(folder / "study" / PICTURES, drawn)
    pictures.draw_missing(2)
    rounds = range(arguments.cases // MASKS)
    copies = [replace(case, segmentation=f"{i}-{case.segmentation}") for i in rounds for case in cases]
    study = replace(drawn, cases=tuple(copies), batches=(len(copies),))
    whole = replace(pictures, study=study)
    for number in range(MASKS, len(copies)):
        source, target = pictures.stem(number % MASKS), whole.stem(number)
        for ending in (".json", *(f"-{view}.webp" for view in VIEWS)):
            shutil.copy(f"{source}{ending}", f"{target}{ending}")
    write_study(study, folder / "study")


class Connection:
    """HTTP/1.1 over one connection that stays open, as a browser's does; with as little work as can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, body: bytes | None = None) -> bytes:
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: localhost\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + (body or b""))
        answer = await self.reader.readuntil(b"\r\n\r\n")
        status = answer.partition(b"\r\n")[0].decode()
        if " 200 " not in status:
            raise RuntimeError(f"{path.rpartition('/')[2]}: {status}")
        length = int(re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)[1])  # type: ignore[index]
        return await self.reader.readexactly(length)


async def rate(port: int, link: str, pause: float, seed: int, times: dict[str, list[float]]) -> None:
    """One rater, from the first case to the last."""
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    rng = np.random.default_rng(seed)
    state = json.loads(await connection.ask(f"{link}/case"))
    while state["case"]:
        for view in VIEWS:
            start = time.perf_counter()
            await connection.ask(f"{link}/picture/{state['case']['id']}/0/{view}")
            times["picture"].append(time.perf_counter() - start)
        await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
        answer = {"id": state["case"]["id"], "turn": state["turn"], "verdict": int(rng.choice(levels_of(GLIOMA.stars)))}
        body = json.dumps(answer | {"comment": "", "tags": [], "seconds": 3.0}).encode()
        start = time.perf_counter()
        state = json.loads(await connection.ask(f"{link}/answer", body))
        times["answer"].append(time.perf_counter() - start)
    connection.writer.close()


async def rate_all(port: int, links: list[str], pause: float) -> dict[str, list[float]]:
    """All raters at once."""
    times: dict[str, list[float]] = {"answer": [], "picture": []}
    await asyncio.gather(*(rate(port, link, pause, seed, times) for seed, link in enumerate(links)))
    return times


def milliseconds(values: list[float]) -> dict[str, Any]:
    """Median, 95th and 99th percentile and maximum."""
    named = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {"count": len(values)} | {k: round(1000 * float(np.percentile(values, q)), 1) for k, q in named.items()}


def main() -> None:
    arguments = tyro.cli(Arguments)
    check_outputs([arguments.out])
    if arguments.cases < MASKS or arguments.cases % MASKS or arguments.raters < 1:
        sys.exit(f"--cases must be a multiple of {MASKS}, and --raters 1 or more")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin(folder, arguments)
        command = [sys.executable, "-m", "dqe_loss.collect", "--out", str(folder / "study"), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            said = itertools.takewhile(lambda line: not line.startswith("Each link"), server.stdout)
            found = [match for line in said if (match := _LINK.match(line))]
            if not found:
                raise RuntimeError("the server has not started")
            start = time.perf_counter()
            times = asyncio.run(rate_all(int(found[0][1]), [match[2] for match in found], arguments.pause))
            seconds = time.perf_counter() - start
        finally:
            server.terminate()
            rest = server.communicate()[0]
        judgments = int(re.findall(r"(\d+) judgments", rest)[-1])
        sizes = [path.stat().st_size for path in (folder / "study" / PICTURES).glob("*.webp")]
    if judgments != arguments.raters * arguments.cases:
        sys.exit(f"expected {arguments.raters * arguments.cases} judgments, the table has {judgments}")
    figures = {
        "raters": arguments.raters,
        "cases": arguments.cases,
        "pause_s": arguments.pause,
        "seconds": round(seconds, 1),
        "judgments_in_the_table": judgments,
        "picture_kb": round(float(np.mean(sizes)) / 1000, 1),
        "milliseconds": {name: milliseconds(values) for name, values in times.items()},
        "machine": machine(),
    }
    write_json(arguments.out, figures)
    print(json.dumps(figures["milliseconds"], indent=2))


if __name__ == "__main__":
    main()
