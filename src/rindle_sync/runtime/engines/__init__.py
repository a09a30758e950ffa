"""What runs due jobs: `base` says what an engine must do, each other engine has a module."""
