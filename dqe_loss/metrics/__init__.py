"""Stars as metrics of MONAI and torchmetrics, overlap with a reference, agreement with raters, failure detection."""
