"""What runs: recipes, the build, the Prefect flows and the command line."""

from flows import students as students  # a family of methods, known wherever methods are looked up: in recipes, on workers, by hand
