"""What a MONAI run is put together from: device, loading, losses, checkpoints, progress, results."""
