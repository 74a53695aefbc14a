"""How good a world model's video is: likeness over the horizon, and whether it follows actions."""
