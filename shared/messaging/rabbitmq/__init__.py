"""RabbitMQ behind the broker port; the only package that knows pika."""
