"""Pictures of notebook 12, the pose machine."""
