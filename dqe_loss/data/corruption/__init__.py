"""Graded segmentation errors: by name, with a severity, chained, reproducible by seed."""

from dqe_loss.extras import needs_extra

with needs_extra("train"):
    from dqe_loss.data.corruption.chain import CORRUPTIONS, Step, as_canonical, corrupt, describe_steps

__all__ = ["CORRUPTIONS", "Step", "as_canonical", "corrupt", "describe_steps"]
