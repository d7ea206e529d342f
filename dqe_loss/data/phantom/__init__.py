"""A synthetic glioma exam for tests and demonstrations: everything runs without a single real exam."""

from dqe_loss.data.phantom.exam import SIZE, make_phantom

__all__ = ["SIZE", "make_phantom"]
