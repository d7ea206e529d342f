"""What is rated: which scans, which regions, and where in a volume the planes lie. Glioma is the only task so far."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a surrogate rates. Its checkpoint carries it, and everything that depends on it asks it there.

    Attributes:
        name: name of the task.
        modalities: scans of an exam, in the order of an image's channels where no other is given.
        regions: regions of a segmentation, in the order of a mask's channels. They may overlap.
        tissues: what a softmax head or a label map tells apart beside background, in no order: a label scheme has one.
        centers: regions through whose center of mass the planes go: of the first that a mask has.
        whole: the region that holds all others; an exam whose target lacks it has nothing to rate.
        field_of_view: height and width in voxels of 1 mm that planes are padded to.
    """

    name: str
    modalities: tuple[str, ...]
    regions: tuple[str, ...]
    tissues: tuple[str, ...]
    centers: tuple[str, str]
    whole: str
    field_of_view: tuple[int, int]

    @property
    def tissue_channels(self) -> int:
        """Channels of a softmax head or of one-hot labels: background, and the tissues."""
        return 1 + len(self.tissues)

    def __post_init__(self) -> None:
        """Check that regions are named that there are.

        Raises:
            ValueError: naming the field and what it may be.
        """
        if unknown := {*self.centers, self.whole} - set(self.regions):
            raise ValueError(f"centers and whole must name regions of {self.regions}, got {', '.join(sorted(unknown))}")


GLIOMA = Task(
    name="glioma",
    modalities=("t1c", "t1", "t2", "flair"),
    regions=("TC", "WT", "ET"),
    tissues=("necrosis", "edema", "enhancing"),
    centers=("TC", "WT"),
    whole="WT",
    field_of_view=(240, 240),
)
"""Gliomas as in BraTS: contrast-enhanced T1, native T1, T2, T2-FLAIR; tumor core, whole tumor, enhancing tumor."""

MODALITIES = GLIOMA.modalities
"""Channel order of images: contrast-enhanced T1, native T1, T2, T2-FLAIR (the published surrogate's order)."""

REGIONS = GLIOMA.regions
"""Channel order of every region tensor: tumor core, whole tumor, enhancing tumor."""
