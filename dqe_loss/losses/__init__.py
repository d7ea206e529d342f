"""The loss, its guards, and sums of losses."""
