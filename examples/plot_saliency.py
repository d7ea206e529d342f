"""Draw where the rating thinks the error is, and where it is, on a phantom whose mask was corrupted.

Run: ``python examples/plot_saliency.py --out docs/explain.png`` (about 20 s). Needs matplotlib (``pip install
"dqe_loss[report]"``). ``dqe rate --exam FOLDER --explain FILE --reference NAME`` draws the same of files.
"""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from dqe_loss import load_surrogate
from dqe_loss.data.corruption import corrupt
from dqe_loss.data.phantom import make_phantom
from dqe_loss.explain.files import explain_exam
from dqe_loss.outputs import write_together


def main(
    out: Path = Path("explain.png"),
    seed: int = 0,
    error: str = "other",
    severity: float = 0.5,
    checkpoint: str = "brainlesion",
) -> None:
    """Draw one error.

    Args:
        out: Picture to write.
        seed: Seed of the phantom.
        error: Name in `dqe_loss.data.corruption.CORRUPTIONS`.
        severity: Its severity, in (0, 1].
        checkpoint: The published weights, or a .safetensors file.
    """
    exam = make_phantom(seed)
    reference = exam.segmentations["reference"]
    wrong = corrupt(
        reference,
        [(error, severity)],
        rng=np.random.default_rng(1),
        brain=exam.image[0] > 0,
        other=make_phantom(seed + 1).segmentations["reference"],
    )
    exam = replace(exam, segmentations={error: wrong, "reference": reference})
    out.parent.mkdir(parents=True, exist_ok=True)
    contents, table = explain_exam(
        exam, load_surrogate(checkpoint), {error: out}, checkpoint, "reference", label_scheme="brats23"
    )
    if out.suffix.lower() == ".png":  # a palette makes a third of the size; the plain median cut would spoil the colors
        picture, small = Image.open(io.BytesIO(contents[out])).convert("RGB"), io.BytesIO()
        palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        palette.save(small, "PNG", optimize=True)
        contents[out] = small.getvalue()
    write_together(contents)
    print(table)


if __name__ == "__main__":
    tyro.cli(main)
