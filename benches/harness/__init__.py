"""Runs proxies side by side on the same work and prints what each costs. `benches/compare` is the way in."""
