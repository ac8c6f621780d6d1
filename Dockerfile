# The demo without a GPU, as an image:
#   docker build -t mae . && docker run --rm -v "$PWD/work_dirs:/mae/work_dirs" mae
# Any other command follows the image's name: `docker run --rm mae mae --help`.
FROM python:3.11-slim

# Builds of PyTorch without CUDA; another index by --build-arg TORCH_INDEX=ADDRESS.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /mae
COPY . .

# OpenCV's build without GUI takes the place of the one that mmengine asks for, which needs libGL.
# The newest versions are meant:
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" torch torchvision \
    && pip install --no-cache-dir -r requirements/demo.txt -e . \
    && pip uninstall -y opencv-python \
    && pip install --no-cache-dir --force-reinstall --no-deps opencv-python-headless

CMD ["python", "tools/demo.py"]
