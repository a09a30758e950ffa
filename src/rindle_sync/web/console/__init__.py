"""The operator's page: how things stand, one row's history, and a few actions, for a browser; needs no script."""
