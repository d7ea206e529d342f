"""How a user's tensors are laid out, where it is not as the task says."""

from typing import NamedTuple

from dqe_loss.core.intensity import modality_index
from dqe_loss.core.label_schemes import label_scheme as find_scheme
from dqe_loss.core.labels import check_region_order
from dqe_loss.core.slicing import check_views
from dqe_loss.task import LabelScheme, Task


class Layout(NamedTuple):
    """What channels and labels are.

    Attributes:
        scheme: of a label map, or of tissue channels.
        region_order: regions of the channels; it may name more than are rated.
        modalities: of the image's channels.
        views: those that are rated.
    """

    scheme: LabelScheme
    region_order: tuple[str, ...]
    modalities: tuple[str, ...]
    views: tuple[str, ...]


def settle_layout(
    task: Task,
    label_scheme: str | None = None,
    region_order: tuple[str, ...] | None = None,
    modalities: tuple[str, ...] | None = None,
    views: tuple[str, ...] | None = None,
) -> Layout:
    """What was said, and of what was not (None) what the task says.

    Raises:
        ValueError: if a scheme, region, modality or view is unknown, missing or named twice.
    """
    layout = Layout(
        find_scheme(label_scheme, task),
        task.regions if region_order is None else region_order,
        task.modalities if modalities is None else modalities,
        task.views if views is None else views,
    )
    check_views(layout.views)
    check_region_order(layout.region_order, task.regions)
    modality_index(layout.modalities, task.modalities)
    return layout
