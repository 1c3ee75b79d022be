"""The dashboard: pages that pick, call the core and show. `whyrec dashboard` starts it."""
