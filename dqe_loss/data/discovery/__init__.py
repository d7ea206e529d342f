"""Where the exams of a data set are: folders, nnU-Net's layout, tables of paths."""
