"""Suites, lanes, and the loop that alternates policy and world."""
