"""The command curate: which segmentations of a rated data set to keep, to look at, to drop."""
