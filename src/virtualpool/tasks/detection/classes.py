"""How many classes a detector of torchvision tells apart."""

from operator import attrgetter

from torch import nn

_COUNTS = (
    "roi_heads.box_predictor.cls_score.out_features",  # Faster, Mask and Keypoint R-CNN
    "head.classification_head.num_classes",  # RetinaNet and FCOS
    "head.classification_head.num_columns",  # SSD and SSDlite
)


def class_count(model: nn.Module) -> int | None:
    """The number of classes with the background; None of a detector of another make.

    >>> from virtualpool.models import faster_rcnn_vgg16
    >>> class_count(faster_rcnn_vgg16(3, hidden=8))
    4
    """
    return next(filter(None, (_number(model, path) for path in _COUNTS)), None)


def _number(model: nn.Module, path: str) -> int | None:
    try:
        return int(attrgetter(path)(model))
    except AttributeError:
        return None
