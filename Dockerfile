# The server on a CPU, as an unprivileged user (docs/deployment.md):
#
#   docker build -t mobile-videogpt .
#   docker run --rm -p 127.0.0.1:8000:8000 -e MOBILE_VIDEOGPT_API_KEYS=some-long-key mobile-videogpt
#
# Any other command of mobile-videogpt runs as well:
#
#   docker run --rm -v "$PWD/examples:/videos:ro" mobile-videogpt \
#       ask /videos/shapes-1.mp4 "How many objects move?"

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# The dependencies first: their layer, more than a gigabyte, outlives changes of the code. All that
# the build reads of the package for them is its version.
COPY LICENSE README.md constraints.txt pyproject.toml ./
COPY src/mobile_videogpt/__init__.py src/mobile_videogpt/__init__.py
RUN pip install --no-cache-dir -c constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu \
        ".[serve,onnx,fast]"
COPY src src
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="Mobile-VideoGPT" \
    org.opencontainers.image.description="Questions about videos behind an OpenAI-compatible API" \
    org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/videogpt videogpt \
    && install --directory --owner=videogpt --group=videogpt /var/cache/videogpt
COPY --from=build /opt/venv /opt/venv
# Downloaded models and compiled loops go to /var/cache/videogpt, the only place that is written to
# but for /tmp: mount a volume there to keep them.
ENV PATH=/opt/venv/bin:$PATH \
    HF_HOME=/var/cache/videogpt/huggingface \
    NUMBA_CACHE_DIR=/var/cache/videogpt/numba \
    XDG_CACHE_HOME=/var/cache/videogpt \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/videogpt
EXPOSE 8000
# Loading a full-size model takes a while; until then failures do not count.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["mobile-videogpt"]
# For other machines the server wants keys: MOBILE_VIDEOGPT_API_KEYS, or --api-key-file.
CMD ["serve", "--host", "0.0.0.0"]
