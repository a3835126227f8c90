# One image for everything of ours: the services, `setup`, `keys` and `operator`.
FROM python:3.14-slim

WORKDIR /app

# A layer of its own: only a changed lock file fetches anything again.
COPY requirements.txt .
RUN pip install --no-cache-dir --root-user-action ignore --require-hashes -r requirements.txt

COPY deploy/shop /usr/local/bin/shop
COPY deploy/keys.py deploy/__init__.py deploy/
COPY shared shared
COPY services services
COPY shop shop
# A checkout may be private to its owner, the image is read by a user for each service. Bytecode is
# made here, since the root file system is read-only when it runs.
RUN chmod -R a+rX . && chmod 755 /usr/local/bin/shop && python -m compileall -q .

ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10000:10000
ENTRYPOINT ["shop"]
CMD ["--help"]
