"""What is rated: the definition of a task, those that come with the package, and files that describe others."""
