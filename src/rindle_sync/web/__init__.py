"""The HTTP server, probes and the console, on uvicorn and Starlette."""
