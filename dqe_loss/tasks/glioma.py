"""Gliomas as in BraTS, the task of the published surrogate."""

from dqe_loss.tasks.definition import FileNames, SchemeLabels, Task

MEANINGS_OF_4 = (
    "right for exams of BraTS 2021 beside such of 2023, else not: in BraTS 2024 after treatment 4 is the resection "
    "cavity (brats24), in BraTS-PEDs 2024 edema (brats-peds), up to BraTS 2021 enhancing tumor (brats21); where there "
    "is no 4, brats23"
)
"""What to say of ``brats`` where 3 and 4 occur in one data set."""


def _labels(
    necrosis: tuple[int, ...], edema: tuple[int, ...], enhancing: tuple[int, ...], *cavity: int
) -> SchemeLabels:
    tissues = {"necrosis": necrosis, "edema": edema, "enhancing": enhancing}
    return SchemeLabels(tissues | ({"cavity": cavity} if cavity else {}))


GLIOMA = Task(
    name="glioma",
    modalities=("t1c", "t1", "t2", "flair"),
    regions=("TC", "WT", "ET"),
    tissues=("necrosis", "edema", "enhancing"),
    centers=("TC", "WT"),
    whole="WT",
    field_of_view=(240, 240),
    # The order of a sum of probabilities decides its last bit.
    parts={
        "TC": ("necrosis", "enhancing"),
        "WT": ("necrosis", "enhancing", "edema"),
        "ET": ("enhancing",),
    },
    schemes={
        "brats": SchemeLabels(
            {"necrosis": (1,), "edema": (2,), "enhancing": (3, 4)}, either="enhancing", note=MEANINGS_OF_4
        ),
        "brats23": _labels((1,), (2,), (3,)),
        "brats21": _labels((1,), (2,), (4,)),
        "brats24": _labels((1,), (2,), (3,), 4),
        "brats-peds": _labels((2, 3), (4,), (1,)),
        "msd": _labels((2,), (1,), (3,)),
        "nnunet": _labels((2,), (1,), (3,)),
    },
    grid=(240, 240, 155),
    source="BraTS",
    lps=True,
    lesion=True,
    smallest_crop=96,  # benchmarks/patches.py
    largest_share=1 / 3,  # of the head: a hemisphere is a half
    bright="flair",  # in edema, if there is any
    contrast=("t1c", "t1"),
    unenhanced={"enhancing": "necrosis"},  # BraTS's label 1 is necrotic and non-enhancing core
    shown=("flair", "t1c", "t1", "t2"),  # edema is read on FLAIR, core and enhancement on T1c
    subject="tumor",
    around="brain",
    experts="neuroradiologists",
    titles={
        "t1c": "T1c",
        "t1": "T1",
        "t2": "T2",
        "flair": "FLAIR",
        "TC": "tumor core",
        "WT": "whole tumor",
        "ET": "enhancing tumor",
        "enhancing": "enhancing tumor",
    },
    # Okabe and Ito's palette, one brightened: told apart on gray and by color-blind readers.
    colors={"WT": "#56B4E9", "TC": "#F0E442", "ET": "#FF4A26"},
    spurious={"edema": 0.5, "enhancing": 0.3, "necrosis": 0.2},
    taken_for={"enhancing": "edema"},
    files=FileNames(
        # BraTS 2017-2020 (t1ce, flair), 2021 on Kaggle and TCIA (t1gd, fla), 2023 and later (t1c, t1n, t2w, t2f).
        endings={
            "t1c": ("t1c", "t1ce", "t1gd"),
            "t1": ("t1", "t1n"),
            "t2": ("t2", "t2w"),
            "flair": ("flair", "t2f", "fla"),
        },
        words={"t1w": "t1"},  # of the Medical Segmentation Decathlon
        channels=("t1", "t1c", "t2", "flair"),  # of nnU-Net's own conversions (Dataset137_BraTS21.py)
        several=True,
    ),
)
"""Gliomas as in BraTS: contrast-enhanced T1, native T1, T2, T2-FLAIR; tumor core, whole tumor, enhancing tumor.

Label schemes: ``brats23`` is BraTS 2023 and later (its pediatric exams of 2023, too), ``brats21`` BraTS 2017 to 2021,
``brats`` either of the two (as the published surrogate's package reads them), ``brats24`` gliomas after treatment in
BraTS 2024, with a resection cavity, ``brats-peds`` pediatric tumors from BraTS-PEDs 2024 on, ``msd`` Task01_BrainTumour
of the Medical Segmentation Decathlon, ``nnunet`` the consecutive labels that nnU-Net's own BraTS conversion writes.
"""
