"""The SO-101 with a table, a block and a tray: physics, scripted experts, recording."""
