# virtualpool on a processor: docker build -t virtualpool . && docker run --rm virtualpool doctor
# Other extras: docker build --build-arg EXTRAS=onnx,openvino,detection -t virtualpool .
FROM python:3.12-slim

# A C++ compiler, for --mode compiled.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/virtualpool
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY src src
ARG EXTRAS=onnx,timm
# The CPU builds of PyTorch are a tenth of the size of the others.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir ".[$EXTRAS]"

# Data, models and runs of yours; the processes that decode images share memory, of which Docker
# gives 64 MB: docker run --rm --shm-size 2g -v "$PWD:/work" virtualpool tune ...
WORKDIR /work
ENTRYPOINT ["virtualpool"]
