"""The built-in drawer robot: physics, experts, collecting, presets."""
