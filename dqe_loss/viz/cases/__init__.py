"""The page of rated segmentations: their stars, and the planes that they were rated in."""
