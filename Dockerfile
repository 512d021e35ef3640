# Two images of the service, built by `make images`:
#
#   server  the HTTP service and all commands, for a machine of your own (the default target)
#   lambda  the three functions on AWS's base image, for accounts that deploy images only
#
# Packages are those of the Lambda layer, installed and slimmed by the same Makefile.

FROM python:3.13-slim-trixie AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/ requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/uv.txt \
 && uv pip install --system --no-cache --require-hashes --requirement requirements/build.txt
COPY LICENSE ./
COPY layers/dependencies/ layers/dependencies/

FROM build AS lambda-packages
RUN make -C layers/dependencies layer MADE=/made ARCHITECTURE="$(uname -m | sed s/aarch64/arm64/)"

FROM public.ecr.aws/lambda/python:3.13 AS lambda
COPY --from=lambda-packages /made/python/ ${LAMBDA_TASK_ROOT}/
COPY shared/oddsound/ ${LAMBDA_TASK_ROOT}/oddsound/
COPY functions/ ${LAMBDA_TASK_ROOT}/functions/
ENV OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JOBLIB_MULTIPROCESSING=0
# The other functions: functions.s3_trigger.app.handler and functions.sqs_trigger.app.handler.
CMD ["functions.api.app.handler"]

FROM build AS server-packages
RUN make -C layers/dependencies layer MADE=/made REQUIREMENTS=server LEFT_OUT='numba|llvmlite|pycparser' \
    ARCHITECTURE="$(uname -m | sed s/aarch64/arm64/)"
COPY pyproject.toml README.md LICENSE template.yaml ./
COPY models/ models/
COPY functions/ functions/
COPY shared/ shared/
COPY workbench/ workbench/
RUN uv pip install --no-cache --no-deps --no-build-isolation --target /app . \
 && python -m compileall -q /app

FROM python:3.13-slim-trixie AS server
# A number, so that orchestrators can see that it is not root.
RUN mkdir /data && chown 10001:10001 /data
COPY --from=server-packages /made/python/ /opt/python/
COPY --from=server-packages /app/ /app/
ENV PYTHONPATH=/app:/opt/python PYTHONDONTWRITEBYTECODE=1 HISTORY=/data/history.sqlite
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", \
  "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "oddsound_workbench.cli"]
CMD ["serve", "--http-only", "--host", "0.0.0.0", "--port", "8000"]
