"""Augmentation of training planes."""
