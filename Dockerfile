# One image for every role: the command line, a Prefect server or worker, a Dask scheduler or worker; docs/operations.md has the commands.
FROM python:3.11.14-slim-bookworm

# torch for the CPU; for CUDA build with, say, --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# facexlib, which comes with pyiqa, brings the OpenCV that can open windows: its cv2 is linked to these three and is not imported without
# them. Their versions are not pinned: Debian keeps only the newest, so that a pinned one is gone after the next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libxcb1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/fusion-prior

# What the project needs, in layers that stay as they are while only its code changes.
COPY pyproject.toml ./
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.10" "torchvision>=0.25" \
    && python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > /tmp/needed.txt \
    && pip install --no-cache-dir --requirement /tmp/needed.txt \
    && rm /tmp/needed.txt

# The project itself, editable, because the deployments of prefect.yaml run the flows in this folder. The kernels are compiled once on
# first use, into the cache of whoever runs them; the import shows that cv2 finds its libraries.
COPY . ./
RUN pip install --no-cache-dir --no-deps --editable . \
    && pip check \
    && fusion-prior methods --format csv

# A home that any --user may write to: numba, Prefect and matplotlib keep what they make there.
RUN useradd --uid 10001 --no-create-home fusion \
    && install --directory --mode=1777 /home/fusion

# Nothing is sent to anybody; and a worker keeps the memory it has, as flows/cluster.py explains.
ENV HOME=/home/fusion \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    MALLOC_TRIM_THRESHOLD_=1073741824 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    MALLOC_ARENA_MAX=1

USER 10001
CMD ["fusion-prior", "--help"]
