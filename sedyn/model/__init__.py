"""What a problem says, defined once on the array API; nothing here imports a kernel."""
