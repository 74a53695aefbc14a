"""Training of world models with Diffusion Forcing."""
