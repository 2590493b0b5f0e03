"""Pictures that one notebook alone uses, in a module or package of its name."""
