"""What is computed: pairs in, candidates, scores and selections out."""
