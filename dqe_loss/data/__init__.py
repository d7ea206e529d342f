"""Exams on disk, tables, the phantom, and what makes training material of them."""

from dqe_loss.extras import needs_extra

with needs_extra("rate"):
    import nibabel  # noqa: F401
