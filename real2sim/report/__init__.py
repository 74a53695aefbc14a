"""Statistics and the page that say how far simulated success agrees with real success."""
