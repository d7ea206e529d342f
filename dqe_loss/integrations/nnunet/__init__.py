"""Training nnU-Net 2.8 with the term (extra ``nnunet``): its trainers, and what they must know of a data set."""
