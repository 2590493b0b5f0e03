"""Pictures that one notebook alone uses, named after it."""
