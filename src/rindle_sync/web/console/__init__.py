"""The console: how things stand, one row in detail, and a few actions, in a browser."""
