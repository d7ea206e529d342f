"""The command train: surrogates from star ratings, by the recipe of Kofler et al. 2022."""
