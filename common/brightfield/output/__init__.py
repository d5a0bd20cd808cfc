"""What a run over frames leaves in its output folder."""
