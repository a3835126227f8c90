"""The peers, each a program written as its documentation advises, run in `.venv-peers`.

Those that react get BENCH_AMQP_URL, BENCH_DATABASE_URL and BENCH_QUEUE, and run until SIGTERM.
Those that publish get BENCH_AMQP_URL and BENCH_BODIES, a file with a body on each line, and say
at the end how many were confirmed, and in how many seconds.
"""
