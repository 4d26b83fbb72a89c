"""Networks that come with the library, with trained weights that need no network to fetch."""

from virtualpool.models.all_cnn_c import CIFAR10_MEAN, CIFAR10_STD, AllCNNC, all_cnn_c

__all__ = ["CIFAR10_MEAN", "CIFAR10_STD", "AllCNNC", "all_cnn_c"]
