"""Hardening: a second reader for a checkpoint, taught on exams with references."""
