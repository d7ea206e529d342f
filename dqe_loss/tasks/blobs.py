"""A tiny synthetic task for tests and newcomers: one blob in a noisy head of 48 voxels a side."""

from dqe_loss.tasks.definition import Task

BLOBS = Task(
    name="blobs",
    modalities=("scan",),
    regions=("blob",),
    tissues=("blob",),
    field_of_view=(64, 64),
    grid=(48, 48, 48),
    source="this package",
    lesion=True,
    error_size=0.35,
    subject="blob",
)
"""One modality, one region: exams of 48 x 48 x 48 voxels, drawn by `dqe_loss.data.phantom.blobs`."""
