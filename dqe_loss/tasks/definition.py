"""What a task is: all that rating, training and auditing must know of what is segmented, checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from dqe_loss.tasks.forms import form_problems
from dqe_loss.tasks.label_scheme import LabelScheme
from dqe_loss.tasks.problems import TaskError, problems_of
from dqe_loss.tasks.region_order import layers_of, outermost, painting_of

VIEWS = ("axial", "coronal", "sagittal")
"""The three views: planes of constant Z, of constant Y and of constant X."""

PALETTE = ("#F0E442", "#56B4E9", "#FF4A26", "#009E73", "#E69F00", "#CC79A7", "#0072B2", "#FFFFFF")
"""Colors of regions where a task names none: Okabe and Ito's, which color-blind readers tell apart."""


@dataclass(frozen=True)
class SchemeLabels:
    """The labels of a scheme, as a task's file has them; see `LabelScheme`."""

    labels: Mapping[str, tuple[int, ...]]
    either: str = ""
    note: str = ""


@dataclass(frozen=True)
class FileNames:
    """How an exam's files are named.

    Attributes:
        endings: for each modality the last parts that its file may have, lower case (``case-7_scan.nii.gz``: ``scan``);
            the modality's own name where none are given.
        words: further names of modalities in an nnU-Net ``dataset.json``.
        channels: order of nnU-Net's channels where its ``dataset.json`` does not say; the task's order if empty.
        images: for each modality a path in the folder of a data set, with ``{exam}`` for the exam's name.
        reference: the same of the reference.
        several: whether a folder holds several segmentations as a rule, so that the reference must be named.
    """

    endings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    several: bool = False


@dataclass(frozen=True)
class Task:
    """What a surrogate rates. Its checkpoint carries it, and everything that depends on it asks it there.

    Attributes:
        name: name of the task.
        modalities: scans of an exam, in the order of an image's channels where no other is given.
        regions: regions of a segmentation, in the order of a mask's channels. They may overlap.
        tissues: what a softmax head or a label map tells apart beside background: a label scheme has labels of each.
        centers: regions through whose center of mass the planes go: of the first that a mask has; that of the
            whole, or else of those that lie in no other, in their order, if none is named.
        whole: the region that holds all others, if there is one; an exam whose target is empty has nothing to rate.
        field_of_view: height and width in voxels that planes are padded to, even, 64 or more.
        parts: the tissues that each region is made of; a region without any is the tissue of its name.
        schemes: label schemes by name, the first is the default; without any, tissues have the labels 1, 2, ...
        views: which views are rated; of 2D images (volumes of one plane) ``axial`` alone.
        volumes: with ``axial`` alone: whether images are volumes all the same, whose other views say little, as where
            voxels are much thicker than wide.
        spacing: size of a voxel in mm along X, Y, Z, as surrogates of this task know them.
        grid: usual number of voxels along X, Y, Z; another is told. None where exams differ.
        source: data set whose grid that is, in words.
        lps: whether files run LPS, as BraTS's do: a header that says otherwise is careless more often than right.
        window: intensities that become 0 and 1, such as (-160, 240) for CT; None scales each image by itself.
        stars: lowest and highest rating of the scale.
        lesion: whether it may lie anywhere and more than once: training then mirrors planes, and hardening turns
            them, too, and puts what is segmented into other places. All of it would be false of an organ.
        error_size: size of simulated errors, as a factor of those for a tumor of some 50 mm.
        smallest_crop: smallest side in voxels of a crop whose padded planes are rated; 0 for any.
        largest_share: largest segmentation, as a share of the image's head, that is no warning.
        bright: modality that is bright where to look: planes can go through its brightest place; empty for none.
        contrast: a modality with contrast agent, and the one that is the same without; empty for none.
        unenhanced: what a tissue that takes up contrast agent is labeled in a tumor that takes up none.
        shown: modalities in pictures, in this order; all if empty.
        subject: what is segmented, in a word.
        around: what it lies in, in a word: all that is not air in an image.
        experts: who judges it, in a word.
        titles: names for readers, of modalities, tissues and regions.
        colors: colors of regions and tissues in pictures, such as ``#E69F00``.
        spurious: how often a false piece is of which tissue; equally often if empty.
        taken_for: what a tissue that was not recognized is labeled; background if it is not named.
        files: how files are named.
    """

    name: str
    modalities: tuple[str, ...]
    regions: tuple[str, ...]
    tissues: tuple[str, ...]
    centers: tuple[str, ...] = ()
    whole: str = ""
    field_of_view: tuple[int, int] = (240, 240)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schemes: Mapping[str, SchemeLabels] = field(default_factory=dict)
    views: tuple[str, ...] = VIEWS
    volumes: bool = False
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grid: tuple[int, int, int] | None = None
    source: str = ""
    lps: bool = False
    window: tuple[float, float] | None = None
    stars: tuple[float, float] = (1.0, 6.0)
    lesion: bool = False
    error_size: float = 1.0
    smallest_crop: int = 0
    largest_share: float = 1.0
    bright: str = ""
    contrast: tuple[str, ...] = ()
    unenhanced: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    subject: str = "segmentation"
    around: str = "body"
    experts: str = "experts"
    titles: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    spurious: Mapping[str, float] = field(default_factory=dict)
    taken_for: Mapping[str, str] = field(default_factory=dict)
    files: FileNames = field(default_factory=FileNames)

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and check all of it.

        Raises:
            TaskError: naming every problem, with its cure.
        """
        if problems := form_problems(vars(self), type(self)):  # before anything is read as what it is not
            raise TaskError(*(f"task {self.name!r}: {problem}" for problem in problems))
        for one in fields(self):  # lists of a file
            value = getattr(self, one.name)
            if isinstance(value, list):
                object.__setattr__(self, one.name, tuple(value))
        parts = {name: tuple(self.parts.get(name, (name,))) for name in self.regions}
        object.__setattr__(self, "parts", parts)
        numbered = {tissue: (label,) for label, tissue in enumerate(self.tissues, 1)}
        if not self.schemes:
            object.__setattr__(self, "schemes", {"labels": SchemeLabels(numbered)})
        if not self.whole:
            holding = [name for name, tissues in parts.items() if set(tissues) == set(self.tissues)]
            object.__setattr__(self, "whole", holding[0] if holding else "")
        covering = self.covering  # from now on at hand: compiled code asks for it
        if not self.centers:
            object.__setattr__(self, "centers", covering)
        if problems := problems_of(self, VIEWS):
            raise TaskError(*problems)
        family: dict[str, LabelScheme] = {}
        for name, scheme in self.schemes.items():
            labels = {tissue: tuple(found) for tissue, found in scheme.labels.items()}
            family[name] = LabelScheme(
                name, labels, self.tissues, parts, scheme.either, self.title(scheme.either), scheme.note, family
            )
        # Made once, so that the same scheme is the same object.
        object.__setattr__(self, "_family", family)
        object.__setattr__(self, "_canonical", LabelScheme("canonical", numbered, self.tissues, parts))

    @property
    def tissue_channels(self) -> int:
        """Channels of a softmax head or of one-hot labels: background, and the tissues."""
        return 1 + len(self.tissues)

    @property
    def label_schemes(self) -> dict[str, LabelScheme]:
        """All label schemes by name; the first is the default."""
        family: dict[str, LabelScheme] = self._family  # type: ignore[attr-defined]
        return family

    @property
    def default_scheme(self) -> str:
        """Name of the label scheme where nothing else is said."""
        return next(iter(self.schemes))

    @property
    def canonical(self) -> LabelScheme:
        """The scheme in which masks are made: the tissues as 1, 2, ... in their order."""
        scheme: LabelScheme = self._canonical  # type: ignore[attr-defined]
        return scheme

    def scheme(self, name: str | None = None) -> LabelScheme:
        """A label scheme by name; the default if None.

        Raises:
            ValueError: if there is none of that name.
        """
        name = self.default_scheme if name is None else name
        if name not in self.label_schemes:
            known = ", ".join(self.label_schemes)
            raise ValueError(f"unknown label scheme {name!r}; expected one of {known}")
        return self.label_schemes[name]

    @cached_property
    def covering(self) -> tuple[str, ...]:
        """Regions that together hold all that is segmented: the whole, or those that lie in no other."""
        return (self.whole,) if self.whole else outermost(self.parts)

    @cached_property
    def painting(self) -> tuple[tuple[str, int], ...]:
        """Regions from the largest to the smallest, and the canonical label that each is painted with."""
        return painting_of(self.parts, self.tissues)

    @cached_property
    def layers(self) -> tuple[tuple[tuple[str, ...], int], ...]:
        """What makes canonical labels of regions, in order: regions, and the label of where all of them are."""
        return layers_of(self.parts, self.tissues)

    @property
    def planar(self) -> bool:
        """Whether images are single planes."""
        return self.views == ("axial",) and not self.volumes

    @property
    def pictured(self) -> tuple[str, ...]:
        """Modalities in pictures, in their order."""
        return self.shown or self.modalities

    def title(self, name: str) -> str:
        """The name of a modality, tissue or region for readers."""
        return self.titles.get(name, name)

    def color(self, region: str) -> str:
        """Color of a region in pictures."""
        return self.colors.get(region, PALETTE[self.regions.index(region) % len(PALETTE)])

    def endings(self, modality: str) -> tuple[str, ...]:
        """Last parts of a file's name, lower case, by which a modality is known."""
        return self.files.endings.get(modality, (modality.lower(),))

    def list_titles(self, names: tuple[str, ...], word: str = "and") -> str:
        """Names for readers in a row: ``a, b and c``."""
        told = [self.title(name) for name in names]
        return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} {word} {told[-1]}"
