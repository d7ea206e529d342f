"""Where the stars think that the error is: saliency, as a picture or as numbers."""
