"""The peers, programs written as their libraries' documentation advises, run in `.venv-peers`.

The consumers (`react_`) read BENCH_AMQP_URL, BENCH_DATABASE_URL and BENCH_QUEUE, and run until
SIGTERM. The publishers (`relay_`) read BENCH_AMQP_URL, BENCH_SECONDS and BENCH_BODIES, a file with
a body on each line, and print how many messages were confirmed in how many seconds.
"""
