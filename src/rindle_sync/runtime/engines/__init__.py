"""Sockets: `base.py` says what a plug must do, every other file is one plug."""
