"""Metrics and traces, for Prometheus and OpenTelemetry."""
