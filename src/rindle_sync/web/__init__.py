"""The HTTP server: webhook endpoint, probes and the console."""
