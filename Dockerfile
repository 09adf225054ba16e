# Hookgate's image: locked wheels in a virtual environment, a numeric user, nothing written outside two directories.
#
#   docker build -t hookgate:0.1.0 .
#   docker run --read-only --cap-drop ALL --tmpfs /run/hookgate:uid=65532,gid=65532,mode=0750 \
#     -v ./policy:/etc/hookgate:ro -v hookgate-state:/var/lib/hookgate -p 127.0.0.1:8080:8080 hookgate:0.1.0
#
# The base is an argument, so that a release can name it by digest: --build-arg PYTHON_IMAGE=python@sha256:...
# Keep its Python at a version that the test suite runs on.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Without pip inside: what serves requests cannot install anything into its own environment.
RUN python -m venv --without-pip /opt/hookgate
COPY requirements.lock ./
# Wheels only, and only those whose hash is in the lock.
RUN pip --python /opt/hookgate/bin/python --no-cache-dir --disable-pip-version-check \
      install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
# --no-deps: the lock alone says what is installed. The build back end works in this stage and stays behind in it.
RUN pip --python /opt/hookgate/bin/python --no-cache-dir --disable-pip-version-check install --no-deps .
# SECURITY: where no wheel fits the platform, aiohttp falls back to a parser written in Python, laxer in what it accepts.
RUN ["/opt/hookgate/bin/python", "-c", "import aiohttp.http_parser as p; assert p.HttpRequestParser is not p.HttpRequestParserPy, 'C parser missing'"]
# What every request passes is compiled: a quarter less CPU. The compiler and what it works with stay behind in this stage.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY requirements-compile.lock ./
RUN python -m venv /opt/compiler && /opt/compiler/bin/pip --no-cache-dir --disable-pip-version-check \
      install --require-hashes --only-binary :all: -r requirements.lock -r requirements-compile.lock
COPY deploy/compile.py ./deploy/
RUN mkdir /compiled && cp -r proxy /compiled && /opt/compiler/bin/python deploy/compile.py /compiled \
    && cp -r /compiled/. "$(/opt/hookgate/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
RUN /opt/hookgate/bin/hookgate version | grep -x "compiled: yes"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Hookgate" \
      org.opencontainers.image.description="An edge verification proxy for bots" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/hookgate /opt/hookgate
# State and the admin socket; a volume and a tmpfs go over them when the root file system is read-only.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/hookgate /run/hookgate
ENV PATH="/opt/hookgate/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
# A number, because runAsNonRoot cannot tell from a name that it is not root; 65532 is the usual "nonroot".
USER 65532:65532
WORKDIR /var/lib/hookgate
VOLUME ["/var/lib/hookgate"]
# Public (plain, TLS) and observe; which of them listen is said by the policy, whose observe address must be 0.0.0.0:9464 here.
EXPOSE 8080 8443 9464
# No shell in any of these: each is a program with its arguments.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["hookgate", "healthcheck", "/etc/hookgate/policy.yaml"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["hookgate"]
CMD ["serve", "/etc/hookgate/policy.yaml"]
