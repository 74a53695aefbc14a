"""Imitation learning beyond RT-1: one network with options for what it remembers and how it answers."""
