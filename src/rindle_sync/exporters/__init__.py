"""Exporters: each file tells events and figures to one library of metrics."""
