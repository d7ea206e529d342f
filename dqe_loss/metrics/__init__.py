"""Stars as metrics of MONAI and torchmetrics, and overlap with a reference."""
