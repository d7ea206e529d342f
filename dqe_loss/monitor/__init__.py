"""Watch stars after deployment."""
