"""Rate many exams: read ahead, keep what is done, go on after a kill, share the work out over processes."""
