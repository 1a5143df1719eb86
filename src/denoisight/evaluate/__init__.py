"""What predictors are worth: frozen protocols, one way to run them, trivial baselines, and result files."""
