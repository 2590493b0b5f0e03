"""Pictures of notebook 13, specialised neurons."""
