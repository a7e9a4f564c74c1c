"""The kinds of tasks by their names in Transformers (`problem_type`). Light: every cluster job reads it."""

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEMS = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)

# What people call the metrics of all kinds, in the order of the report.
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "f1_weighted": "F1 weighted",
    "precision_weighted": "precision weighted",
    "recall_weighted": "recall weighted",
    "auroc_macro": "macro AUROC",
    "auprc_macro": "macro AUPRC",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "precision_micro": "micro precision",
    "recall_micro": "micro recall",
    "label_accuracy": "labels right",
    "exact_match": "exact match",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
