"""The command evaluate: how well a surrogate agrees with raters, and with references."""
