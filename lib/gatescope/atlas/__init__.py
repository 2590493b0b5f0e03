"""What turns notebooks into a checked collection: runs, figures and their record, the site."""
