"""What several methods are built of: transforms, filters, solvers and measures of activity, each written once.

Methods import from here; nothing here imports a method.
"""
