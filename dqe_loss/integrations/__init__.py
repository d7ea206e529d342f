"""The loss and the stars inside other frameworks."""
