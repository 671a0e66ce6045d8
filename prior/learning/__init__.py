"""The scripts that learn the arrays in `prior/weights`: minutes each, from photographs that scikit-image ships; no build runs them."""
