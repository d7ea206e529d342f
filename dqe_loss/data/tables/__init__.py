"""Tables on disk: what humans gave (ratings) and what surrogates said (rated)."""
