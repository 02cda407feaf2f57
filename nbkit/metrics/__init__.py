"""Scores: of examples (``examples``) and of the pixels of images (``pixels``)."""

from nbkit.metrics.examples import (
    auc,
    calibration_error,
    classification,
    confusion_matrix,
    detection,
    labelled_share,
    proxy_accuracy,
    pu_auc,
    reliability,
)
from nbkit.metrics.pixels import STATISTICS, bootstrap, class_iu, image_confusions, segmentation

__all__ = [
    "STATISTICS",
    "auc",
    "bootstrap",
    "calibration_error",
    "class_iu",
    "classification",
    "confusion_matrix",
    "detection",
    "image_confusions",
    "labelled_share",
    "proxy_accuracy",
    "pu_auc",
    "reliability",
    "segmentation",
]
