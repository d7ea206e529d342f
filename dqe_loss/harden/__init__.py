"""The command harden: a refiner for a checkpoint, taught on exams with references."""
