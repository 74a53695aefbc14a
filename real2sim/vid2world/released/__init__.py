"""Vid2World in the form of the released weights: first stage, encoders, sampler, conversion."""
