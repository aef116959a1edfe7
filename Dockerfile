# One image for the launcher and its workers: the commands, and Beam's worker. docs/image.md says how to use it.
#   docker build -t seqcls-beam .                                        for GPUs: torch as it comes, with CUDA
#   docker build -t seqcls-beam --build-arg TORCH_INDEX=URL .            for CPUs: URL is the CPU index of pytorch.org
#   docker build -t seqcls-beam --build-context model=my-checkpoint .    with a checkpoint, for --model=/opt/model
#   docker build -t seqcls-beam --target root .                          for Dataflow, which gives files to root
#   docker build -t seqcls-beam --target template --build-arg LAUNCHER=IMAGE .    for a template of Dataflow (or template-prepare)
# Python, Beam and torch are those of constraints.txt.
ARG PYTHON=3.11
ARG BEAM=2.77.0
ARG BASE=python:${PYTHON}-slim-bookworm
ARG SDK=apache/beam_python${PYTHON}_sdk:${BEAM}
# Google's image with the launcher of Python templates, which only the stage "template" needs.
ARG LAUNCHER=scratch

FROM ${SDK} AS sdk

# Empty, unless --build-context names a folder.
FROM scratch AS model

FROM ${LAUNCHER} AS launcher

FROM ${BASE} AS wheel
WORKDIR /source
COPY . .
# In an environment, since the Python of a distribution refuses pip.
RUN python3 -m venv /venv \
    && /venv/bin/pip wheel --quiet --no-cache-dir --no-deps --wheel-dir=/wheel . \
    && cp constraints.txt /wheel

FROM ${BASE} AS root
COPY --from=sdk /opt/apache/beam/boot /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/
ARG TORCH_INDEX=""
ARG EXTRAS="gcp,language,s3,train"
# --compile needs a C compiler; its version is the base's affair.
# hadolint ignore=DL3008
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --quiet --no-cache-dir --constraint=/wheel/constraints.txt \
        ${TORCH_INDEX:+--extra-index-url="${TORCH_INDEX}"} \
        "seqcls_beam[${EXTRAS}] @ file://$(echo /wheel/*.whl)" \
    && /opt/venv/bin/pip check \
    && if /opt/venv/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)'; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi
# Whoever builds may be the only one who can read these.
COPY --chmod=755 deploy/commands.sh deploy/finetune.sh deploy/nightly.sh /opt/seqcls_beam/deploy/
COPY --chmod=755 --from=model / /opt/model/
# The worker takes the environment that is here, where boot would make one of its own. Drivers lie where Kubernetes
# and Dataflow put them. Users without a name, as any but root are here, have no home, and torch asks for a name.
ENV PATH=/opt/venv/bin:${PATH} \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    HOME=/tmp \
    USER=seqcls-beam \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tmp
ENTRYPOINT ["/opt/apache/beam/boot"]

# Launcher and workers are one image, so that both have the same packages.
FROM root AS template
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
COPY --chmod=644 deploy/dataflow/main.py /opt/seqcls_beam/deploy/dataflow/
# The command that a launch calls; this one is for files and for streams.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/seqcls_beam/deploy/dataflow/main.py \
    SEQCLS_BEAM_COMMAND=classify

FROM template AS template-prepare
ENV SEQCLS_BEAM_COMMAND=prepare

FROM root
USER 65532:0
