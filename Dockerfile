# The demo without a GPU, as an image:
#   docker build -t mae .
#   mkdir -p work_dirs
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work_dirs:/mae/work_dirs" mae
# Any other command follows the image's name: `docker run --rm mae mae --help`.
FROM python:3.11-slim

# Builds of PyTorch without CUDA; another index by --build-arg TORCH_INDEX=ADDRESS.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /mae

# The packages come before the sources, whose changes then install nothing anew.
COPY requirements requirements

# OpenCV's build without GUI takes the place of the one that mmengine asks for, which needs libGL.
# The newest versions are meant:
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" torch torchvision \
    && pip install --no-cache-dir -r requirements/runtime.txt -r requirements/demo.txt \
    && pip uninstall -y opencv-python \
    && pip install --no-cache-dir --force-reinstall --no-deps opencv-python-headless

# Every user may write the runs.
COPY . .
RUN pip install --no-cache-dir --no-deps -e . && mkdir -m 1777 work_dirs

# Where libraries keep their caches: the home of a user whom the image does not know is `/`. Not
# before, as pip would leave folders of root there.
ENV HOME=/tmp

CMD ["python", "tools/demo.py"]
