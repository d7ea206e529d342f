"""Exams on disk, tables, the phantom, and what makes training material of them."""
