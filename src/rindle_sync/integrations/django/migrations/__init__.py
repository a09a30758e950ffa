"""The migrations of the Django app: each leads to a revision of rindle-sync's own tables."""
