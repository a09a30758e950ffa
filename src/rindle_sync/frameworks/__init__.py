"""Sockets: each file serves our endpoint in one framework."""
