# One image for the services, `setup`, `keys` and `operator`.
ARG PYTHON_IMAGE=python:3.14-slim

# The packages, installed in a stage of its own, so that the image needs no installer.
FROM ${PYTHON_IMAGE} AS packages
COPY requirements.txt .
RUN python -m venv --without-pip /opt/packages \
 && pip --python /opt/packages install --no-cache-dir --root-user-action ignore --require-hashes -r requirements.txt

FROM ${PYTHON_IMAGE}

# What the base image brings to install packages; nothing here needs it, and an intruder might.
RUN find / -xdev -regextype posix-extended -regex \
 '.*/(python[^/]*/(.*/)?(pip|setuptools|wheel|ensurepip|pkg_resources|_distutils_hack)(-[^/]*)?|bin/(pip|wheel)[^/]*)' \
 -prune -exec rm -rf {} +

WORKDIR /app
COPY --from=packages /opt/packages /opt/packages
COPY deploy/shop /usr/local/bin/shop
COPY deploy/keys.py deploy/__init__.py deploy/
COPY shared shared
COPY services services
COPY shop shop
ENV PATH=/opt/packages/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The files of a checkout may be readable by their owner only, but each service has its own user.
# Bytecode is compiled now, because the root file system is read-only at run time.
RUN chmod -R a+rX . && chmod 755 /usr/local/bin/shop && python -m compileall -q .

USER 10000:10000
ENTRYPOINT ["shop"]
CMD ["--help"]
