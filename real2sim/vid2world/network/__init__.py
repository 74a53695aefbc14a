"""The causal, action-conditioned video U-Net and its parts."""
