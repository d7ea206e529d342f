"""The command audit: where a checkpoint can be fooled, part by part."""
