"""Pictures of all cases, drawn before the first rater comes: what is shown waits for nobody, and nothing can fail then.

A case's files are named by its number, by what it is and by how it is shown, so that what is another is drawn anew.
"""

import json
import signal
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dqe_loss.collect.study import Case, Study, StudyDesign, check_files
from dqe_loss.data.exams import read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.outputs import write_together
from dqe_loss.viz.cases.pictures import draw_cases

PICTURES = "pictures"
QUALITY = 90
"""Of the WebP: higher than on a page of cases, for brightness and zoom bring artifacts out."""

Drawing = tuple[Path, Case]
"""Where a case's pictures go, without ending, and the case."""


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a study.

    Attributes:
        folder: where they are.
        study: the study.
    """

    folder: Path
    study: Study

    def stem(self, number: int, training: bool = False) -> Path:
        """Path of a case's files, without ending."""
        case = (self.study.training if training else self.study.cases)[number]
        return self.folder / f"{'training-' if training else ''}{number:05d}-{self.study.design.key_of(case)}"

    def planes(self, number: int, training: bool = False) -> list[dict[str, Any]]:
        """What the page draws on top of the images: for each view its size, spacing, outlines and sides."""
        content = self.stem(number, training).with_suffix(".json").read_bytes()
        planes: list[dict[str, Any]] = json.loads(content)
        return planes

    def image(self, number: int, view: str, training: bool = False) -> bytes:
        """The WebP of one view: the panels of all modalities side by side."""
        stem = self.stem(number, training)
        return stem.with_name(f"{stem.name}-{view}.webp").read_bytes()

    def draw_missing(self, workers: int) -> None:
        """Draw what is not there yet, exam by exam, in processes of their own.

        Raises:
            ValueError: an exam cannot be read, or is not as it was; what was drawn stays.
            OSError: the pictures cannot be written, or a process was killed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        by_exam: dict[tuple[str, ...], list[Drawing]] = defaultdict(list)
        for training, cases in ((False, self.study.cases), (True, self.study.training)):
            for number, case in enumerate(cases):
                stem = self.stem(number, training)
                if not stem.with_suffix(".json").is_file():
                    key = (case.exam, *case.images.values())
                    by_exam[key].append((stem, case))
        jobs = list(by_exam.values())
        if not jobs:
            return
        design = self.study.design
        if len(jobs) == 1 or workers == 1:
            for job in tqdm(jobs, desc="pictures", unit="exam", disable=None):
                draw_exam(job, design)
            return
        with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _start_worker) as pool:
            futures = [pool.submit(draw_exam, job, design) for job in jobs]
            try:
                for future in tqdm(as_completed(futures), "pictures", len(futures), unit="exam", disable=None):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def draw_exam(drawings: Sequence[Drawing], design: StudyDesign) -> None:
    """Draw cases of one exam, all in one frame; the file that says that a case is drawn is written last."""
    first = drawings[0][1]
    masks = tuple(file_at(case.mask) for _, case in drawings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of affines: dqe rate tells them
        paths = replace(first.paths(design.task), segmentations=masks)
        exam = read_exam(paths, label_scheme=design.scheme, task=design.task)
    drawn = draw_cases(exam, design.scheme, QUALITY, design.task)
    check_files([case for _, case in drawings])
    for (stem, _), views in zip(drawings, drawn.values(), strict=True):
        contents = {stem.with_name(f"{stem.name}-{view.view}.webp"): view.strip for view in views}
        # Where the plane lies is left out: with it a rater could find the exam among others.
        told = [{name: value for name, value in vars(view).items() if name not in ("strip", "index")} for view in views]
        write_together(contents | {stem.with_suffix(".json"): json.dumps(told).encode()})


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the work
    torch.set_num_threads(1)
