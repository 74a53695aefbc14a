"""LeRobot datasets of versions 2.0, 2.1 and 3.0: read with pyarrow and PyAV, without LeRobot itself."""
