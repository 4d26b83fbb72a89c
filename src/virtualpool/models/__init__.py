"""Networks that come with the library."""

from virtualpool.models.all_cnn_c import CIFAR10_MEAN, CIFAR10_STD, AllCNNC, all_cnn_c
from virtualpool.models.faster_rcnn_vgg16 import VGG16Trunk, faster_rcnn_vgg16
from virtualpool.models.unet_vgg16 import UNetVGG16, unet_vgg16

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "AllCNNC",
    "UNetVGG16",
    "VGG16Trunk",
    "all_cnn_c",
    "faster_rcnn_vgg16",
    "unet_vgg16",
]
