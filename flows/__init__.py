"""What runs: recipes, the build, the Prefect flows and the command line."""
