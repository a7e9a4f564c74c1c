"""What a comparison of predictors says."""
