"""A checked collection made of notebooks: their runs, figures and the record of both, and the site."""
