"""From a description to weights: recipes, the training loop, tasks, runs and what they came to."""
