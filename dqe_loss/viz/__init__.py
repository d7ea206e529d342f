"""How planes, outlines, plots and pages are drawn."""

from dqe_loss.extras import needs_extra

with needs_extra("report"):
    import matplotlib  # noqa: F401
