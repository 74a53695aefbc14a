"""Local pages: labelling episodes and looking at a run, in a browser on this machine."""
