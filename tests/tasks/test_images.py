from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from tests.tasks.conftest import BROKEN, break_file
from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.images import Images
from virtualpool.tasks.preprocessing import Preprocessing
