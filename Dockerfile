# One image for the services, `setup`, `keys` and `operator`.
FROM python:3.14-slim

WORKDIR /app

# A separate layer, so that packages are downloaded again only when the lock file changes.
COPY requirements.txt .
RUN pip install --no-cache-dir --root-user-action ignore --require-hashes -r requirements.txt

COPY deploy/shop /usr/local/bin/shop
COPY deploy/keys.py deploy/__init__.py deploy/
COPY shared shared
COPY services services
COPY shop shop
# The files of a checkout may be readable by their owner only, but each service has its own user.
# Bytecode is compiled now, because the root file system is read-only at run time.
RUN chmod -R a+rX . && chmod 755 /usr/local/bin/shop && python -m compileall -q .

ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10000:10000
ENTRYPOINT ["shop"]
CMD ["--help"]
