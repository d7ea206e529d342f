"""The audit: where a checkpoint can be fooled, part by part; see `dqe_loss.evaluation.audit.parts`."""
