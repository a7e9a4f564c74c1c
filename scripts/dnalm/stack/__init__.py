"""Several predictors of a task as one."""
