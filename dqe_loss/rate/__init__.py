"""The command rate: exams and whole data sets; goes on after a kill, shares the work out over processes."""
