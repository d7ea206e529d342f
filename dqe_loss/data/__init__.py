"""Data: exams on disk, ratings tables, the phantom, and what makes training material of them."""
