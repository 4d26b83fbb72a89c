# virtualpool on a processor: docker build -t virtualpool . && docker run --rm virtualpool doctor
FROM python:3.12-slim

# A C++ compiler, for --mode compiled.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/virtualpool
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY src src
# The CPU builds of PyTorch are a tenth of the size of the others.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir '.[onnx,timm]'

# Data, models and runs of yours: docker run --rm -v "$PWD:/work" virtualpool tune ...
WORKDIR /work
ENTRYPOINT ["virtualpool"]
