"""How processes are started: what the start methods have in common."""
