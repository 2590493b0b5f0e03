"""Trainings: descriptions, recipes, tasks, the training loop, evaluation and the results of finished runs."""
