"""RT-1 in PyTorch: network, tokens, checkpoints of other forms, behaviour cloning."""
