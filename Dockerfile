# The image of kuberay.yaml: docker build --tag registry.example/sedyn:latest .
# With GPUs: docker build --build-arg EXTRA='[gpu]' --tag registry.example/sedyn:latest-gpu .
FROM python:3.12-slim

# KubeRay asks pods whether they are well with wget.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*

WORKDIR /home/sedyn
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes --requirement requirements/environment.lock
COPY . .
ARG EXTRA=""
RUN pip install --no-cache-dir ".${EXTRA}"

RUN useradd --create-home --home-dir /home/sedyn sedyn && chown sedyn /home/sedyn
USER sedyn
# For the processor of the machine that builds; on another kind a pod's first worker compiles for all of its workers.
RUN sedyn doctor --compile
