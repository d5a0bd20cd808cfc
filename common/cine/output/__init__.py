"""What a run over cine stacks leaves in its output folder."""
