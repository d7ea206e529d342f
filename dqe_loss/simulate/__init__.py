"""The command simulate: ratings for labs that have none yet."""
