"""Collect stars: a page where experts rate, and what their ratings are worth."""
