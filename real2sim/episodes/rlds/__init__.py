"""RLDS datasets such as those of Open X-Embodiment: TFRecord files read without TensorFlow."""
