"""Rendered people who gesture or walk, with exact hand masks, depth, flow and joints."""
