"""Writers of metrics for experiment trackers: Weights & Biases, MLflow, trackio."""
